//! Makes a map of lines `number<TAB>key`, sorted by key. For `scripts/build-cache-data.py`, which gives both files.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::BufWriter,
};

use fst::MapBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    let [from, to] = env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: compile FROM TO")?;
    let lines = fs::read(from)?;
    let mut builder = MapBuilder::new(BufWriter::new(File::create(to)?))?;
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t').ok_or("a line without a tab")?;
        builder.insert(&line[tab + 1..], str::from_utf8(&line[..tab])?.parse()?)?;
    }
    builder.finish()?;
    Ok(())
}
