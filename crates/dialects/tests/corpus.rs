//! Runs what the fuzzer's targets do over their seeds, without a fuzzer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(unreachable_pub, reason = "the file is shared with the fuzzer's targets")]

mod common;

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

#[test]
fn every_seed_of_every_target_holds() {
    for (name, body) in bodies::TARGETS {
        let mut seeds = 0;
        for entry in std::fs::read_dir(common::root().join("fuzz/corpus").join(name)).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            body(&seed);
            // Every beginning of a seed is an input, too.
            for length in (0..seed.len()).step_by(seed.len() / 100 + 1) {
                body(&seed[..length]);
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seeds");
    }
}
