//! Whether a failed attempt may be followed by another: the retry throttle of gRPC (proposal A6), one for each upstream key.
//!
//! Ten tokens; a failure that could be retried takes one, a success gives back a tenth, and while no more than five are left
//! nothing is retried. A provider with one failure in twelve keeps its retries for ever; one that is down has had its four.
//! A timeout takes two (AWS): whoever waited in vain has already cost the provider most.
//!
//! It is the key that would be asked which decides. For the same target that is what [`RetryTokens::failed`] returns; for
//! another one, [`RetryTokens::allow`] of its own tokens: a target that is down must not keep requests from one that is not.

use gateway_core::error::FailureClass;

use crate::sync::{AtomicU32, Ordering};

/// In thousandths of a token, as everything here.
const FULL: u32 = 10_000;
const LEAST: u32 = 5_000;
const SUCCESS: u32 = 100;
const FAILURE: u32 = 1_000;
const TIMEOUT: u32 = 2_000;

#[derive(Debug)]
pub struct RetryTokens {
    left: AtomicU32,
}

impl Default for RetryTokens {
    fn default() -> Self {
        RetryTokens { left: AtomicU32::new(FULL) }
    }
}

impl RetryTokens {
    /// An attempt went well.
    pub fn succeeded(&self) {
        let mut left = self.left.load(Ordering::Relaxed);
        // The usual case writes nothing, so that cores do not take the line from each other.
        while left < FULL {
            match self.exchange(left, (left + SUCCESS).min(FULL)) {
                Ok(_) => return,
                Err(changed) => left = changed,
            }
        }
    }

    /// An attempt failed so; may it be followed by another with this key? Classes that are nobody's overload (a fault of the request's, a
    /// refused key, a spent budget) take nothing and are no reason to throttle what comes next, which asks somebody else.
    pub fn failed(&self, class: FailureClass) -> bool {
        let price = match class {
            FailureClass::ClientFault | FailureClass::Credential | FailureClass::SpendCap => return self.allow(),
            FailureClass::Timeout => TIMEOUT,
            FailureClass::Quota
            | FailureClass::ProviderFault
            | FailureClass::Overload
            | FailureClass::Transport
            | FailureClass::Ambiguous
            | FailureClass::BadAnswer => FAILURE,
        };
        let mut left = self.left.load(Ordering::Relaxed);
        loop {
            match self.exchange(left, left.saturating_sub(price)) {
                Ok(before) => return before.saturating_sub(price) > LEAST,
                Err(changed) => left = changed,
            }
        }
    }

    /// May this key be asked after an attempt has failed, with it or elsewhere?
    pub fn allow(&self) -> bool {
        self.left.load(Ordering::Relaxed) > LEAST
    }

    /// Of ten, for metrics.
    pub fn left(&self) -> f64 {
        f64::from(self.left.load(Ordering::Relaxed)) / 1e3
    }

    fn exchange(&self, old: u32, new: u32) -> Result<u32, u32> {
        self.left.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn four_retries_and_then_none_until_enough_went_well() {
        let tokens = RetryTokens::default();
        let granted = (0..100).filter(|_| tokens.failed(FailureClass::ProviderFault)).count();
        assert_eq!((granted, tokens.left()), (4, 0.0));
        for _ in 0..50 {
            tokens.succeeded();
            assert!(!tokens.allow());
        }
        tokens.succeeded();
        assert!(tokens.allow());
    }

    #[test]
    fn timeouts_take_double() {
        let tokens = RetryTokens::default();
        assert!(tokens.failed(FailureClass::Timeout) && tokens.failed(FailureClass::Timeout));
        assert!(!tokens.failed(FailureClass::Timeout));
    }

    #[test]
    fn faults_of_the_request_take_nothing() {
        let tokens = RetryTokens::default();
        for class in [FailureClass::ClientFault, FailureClass::Credential, FailureClass::SpendCap] {
            for _ in 0..100 {
                assert!(tokens.failed(class));
            }
        }
        assert_eq!(tokens.left(), 10.0);
    }

    #[test]
    fn one_failure_in_twelve_keeps_its_retries_for_ever() {
        let tokens = RetryTokens::default();
        for n in 0..120_000 {
            if n % 12 == 0 {
                assert!(tokens.failed(FailureClass::Overload), "{n}");
            } else {
                tokens.succeeded();
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_rule_in_plain_numbers(steps in prop::collection::vec(0..3u8, 0..300)) {
            let tokens = RetryTokens::default();
            let mut model: f64 = 10.0;
            for step in steps {
                match step {
                    0 => {
                        model = (model - 1.0).max(0.0);
                        prop_assert_eq!(tokens.failed(FailureClass::BadAnswer), model > 5.0 + 1e-6);
                    }
                    1 => {
                        model = (model - 2.0).max(0.0);
                        prop_assert_eq!(tokens.failed(FailureClass::Timeout), model > 5.0 + 1e-6);
                    }
                    _ => {
                        model = (model + 0.1).min(10.0);
                        tokens.succeeded();
                    }
                }
                prop_assert!((tokens.left() - model).abs() < 1e-6);
            }
        }
    }
}
