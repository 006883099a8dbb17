//! The order in which the operator wrote the targets down.

use super::{Entry, Why};

pub(super) fn order(group: &mut [Entry]) {
    for entry in group {
        entry.why = Why::ConfiguredOrder;
    }
}
