//! What a vector costs. Nobody may wait for it longer than for a search.

use gateway_cache::semantic::embedder::embed;

fn main() {
    divan::main();
}

/// About as many pieces as asked for.
fn text(pieces: usize) -> String {
    let words = [
        "how", "do", "I", "restart", "the", "server", "after", "an", "update", "of", "its", "kernel", "without",
        "losing", "open", "files",
    ];
    words.into_iter().cycle().take(pieces).collect::<Vec<_>>().join(" ")
}

#[divan::bench(args = [16, 64, 256])]
fn vector(bencher: divan::Bencher<'_, '_>, pieces: usize) {
    let text = text(pieces);
    bencher.bench(|| embed(divan::black_box(&text)));
}

#[divan::bench]
fn vector_with_accents(bencher: divan::Bencher<'_, '_>) {
    let text = "¿Cómo puedo reiniciar el servidor después de una actualización sin perder los archivos?";
    bencher.bench(|| embed(divan::black_box(text)));
}
