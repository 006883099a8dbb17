//! The steps that all gateways take in one place. Each script is one step in Redis: nothing happens in between.

use crate::store::redis::Script;

macro_rules! script {
    ($($part:literal),+) => {
        Script::new(concat!($(include_str!($part), "\n"),+))
    };
}

pub static RESERVE: Script = script!("clock.lua", "bucket.lua", "reserve.lua");
pub static SETTLE: Script = script!("clock.lua", "bucket.lua", "settle.lua");
pub static LEASE: Script = script!("clock.lua", "lease.lua");
pub static NODE: Script = script!("clock.lua", "node.lua");

pub static ALL: [&Script; 4] = [&RESERVE, &SETTLE, &LEASE, &NODE];
