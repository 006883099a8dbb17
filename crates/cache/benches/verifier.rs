//! What it costs to prepare a question and to compare two. Goals: 10 us for 16 words, 2 us a pair.

use divan::{Bencher, black_box};
use gateway_cache::semantic::verifier::{Prepared, verify};

const QUESTION: &str = "Could you please tell me how I can repair the gearbox of an old bicycle at home?";
const REWORDED: &str = "what's the best way to fix an old bike's gearbox at home";
const OTHER: &str = "How do I repair the brakes of an old bicycle in the winter without tools?";
const UNRELATED: &str = "When does the museum of modern art in Vienna open on a Sunday in March?";
const SPANISH: &str = "¿Me puedes decir cómo puedo cambiar la contraseña de mi cuenta en el banco?";
const GERMAN: &str = "Können Sie mir sagen, wie ich das Passwort von meinem Konto bei der Bank ändern kann?";

fn main() {
    divan::main();
}

#[divan::bench(args = [QUESTION, REWORDED, UNRELATED, SPANISH, GERMAN])]
fn prepare(bencher: Bencher<'_, '_>, text: &str) {
    let _ = Prepared::new(text);
    bencher.bench(|| Prepared::new(black_box(text)));
}

#[divan::bench]
fn prepare_long(bencher: Bencher<'_, '_>) {
    let text = "When the owner of a house lets a room, ".repeat(10) + "what must the tenant pay?";
    bencher.bench(|| Prepared::new(black_box(&text)));
}

#[divan::bench(args = [QUESTION, REWORDED, OTHER, UNRELATED])]
fn compare(bencher: Bencher<'_, '_>, text: &str) {
    let (asked, stored) = (Prepared::new(QUESTION), Prepared::new(text));
    bencher.bench(|| verify(black_box(&asked), black_box(&stored)));
}
