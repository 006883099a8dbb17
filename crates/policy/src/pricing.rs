//! What tokens cost by list price, in integers.
//!
//! The input side and the output side of an answer are each summed exactly and rounded once, half up, to a whole
//! nano-dollar; a total is the sum of the two.

use std::fmt;

use gateway_core::usage::{Cost, NanoUsd, Usage};
use serde::Deserialize;

/// The price of one token, in trillionths of a US dollar: the same number as millionths of a dollar per million tokens, so
/// that every price a vendor lists is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(u64);

impl Rate {
    const PICO_PER_NANO: u128 = 1_000;
    const LARGEST_USD_PER_MILLION: f64 = 1e6;

    /// `usd` is per million tokens, rounded to six decimals.
    pub fn per_million(usd: f64) -> Result<Rate, InvalidPrice> {
        if (0.0..=Rate::LARGEST_USD_PER_MILLION).contains(&usd) {
            Ok(Rate((usd * 1e6).round() as u64))
        } else {
            Err(InvalidPrice::OutOfRange(usd))
        }
    }

    pub fn usd_per_million(self) -> f64 {
        self.0 as f64 / 1e6
    }

    pub fn usd_per_thousand(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// In trillionths of a dollar.
    fn of(self, tokens: u64) -> u128 {
        u128::from(self.0) * u128::from(tokens)
    }
}

impl TryFrom<f64> for Rate {
    type Error = InvalidPrice;

    fn try_from(usd_per_million: f64) -> Result<Self, Self::Error> {
        Rate::per_million(usd_per_million)
    }
}

/// The rates that hold for prompts of more than `above` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    #[serde(default)]
    pub above: u64,
    pub input: Rate,
    /// Tokens read from the vendor's prompt cache. Absent: they cost what other input costs.
    pub cache_read: Option<Rate>,
    /// Tokens written to it, likewise.
    pub cache_write: Option<Rate>,
    #[serde(default)]
    pub output: Rate,
}

/// A list price. The size of the whole prompt chooses the tier, and that tier's rates hold for every token of the request,
/// output included: so do the vendors that have tiers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Tier>")]
pub struct Price {
    base: Tier,
    /// Ascending by `above`.
    longer: Box<[Tier]>,
}

impl Price {
    /// One rate for all input and one for all output, in US dollars per million tokens.
    pub fn flat(input_per_million: f64, output_per_million: f64) -> Result<Price, InvalidPrice> {
        let base = Tier {
            above: 0,
            input: Rate::per_million(input_per_million)?,
            cache_read: None,
            cache_write: None,
            output: Rate::per_million(output_per_million)?,
        };
        Ok(Price { base, longer: Box::default() })
    }

    /// The tier for a prompt of so many tokens.
    pub fn tier(&self, input_tokens: u64) -> &Tier {
        self.longer.iter().rev().find(|tier| input_tokens > tier.above).unwrap_or(&self.base)
    }

    /// What `usage` costs. Sums beyond the range of [`NanoUsd`] (18 billion dollars) stay at its end.
    pub fn cost(&self, usage: &Usage) -> Cost {
        let tier = self.tier(usage.input);
        let cached = usage.cache_read.saturating_add(usage.cache_write);
        let input = [
            tier.input.of(usage.input.saturating_sub(cached)),
            tier.cache_read.unwrap_or(tier.input).of(usage.cache_read),
            tier.cache_write.unwrap_or(tier.input).of(usage.cache_write),
        ];
        Cost {
            input: nano(input.into_iter().fold(0, u128::saturating_add)),
            output: nano(tier.output.of(usage.output)),
        }
    }

    /// What a request of this size costs when nothing of it is cached.
    pub fn estimate(&self, input_tokens: u64, output_tokens: u64) -> Cost {
        self.cost(&Usage { input: input_tokens, output: output_tokens, ..Usage::default() })
    }
}

fn nano(pico: u128) -> NanoUsd {
    let rounded = pico.saturating_add(Rate::PICO_PER_NANO / 2) / Rate::PICO_PER_NANO;
    NanoUsd(u64::try_from(rounded).unwrap_or(u64::MAX))
}

impl TryFrom<Vec<Tier>> for Price {
    type Error = InvalidPrice;

    fn try_from(tiers: Vec<Tier>) -> Result<Self, Self::Error> {
        let ascending = tiers.windows(2).all(|pair| pair[0].above < pair[1].above);
        match tiers.split_first() {
            Some((base, longer)) if base.above == 0 && ascending => Ok(Price { base: *base, longer: longer.into() }),
            _ => Err(InvalidPrice::Tiers),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InvalidPrice {
    OutOfRange(f64),
    Tiers,
}

impl fmt::Display for InvalidPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidPrice::OutOfRange(usd) => {
                write!(f, "a price is a number of US dollars per million tokens, from 0 to 1000000, not {usd}")
            }
            InvalidPrice::Tiers => f.write_str("price tiers begin at 0 tokens and ascend"),
        }
    }
}

impl std::error::Error for InvalidPrice {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(per_million: f64) -> Rate {
        Rate::per_million(per_million).expect("a price")
    }

    fn cached_and_tiered() -> Price {
        let base = Tier {
            above: 0,
            input: usd(3.0),
            cache_read: Some(usd(0.3)),
            cache_write: Some(usd(3.75)),
            output: usd(15.0),
        };
        let long = Tier {
            above: 200_000,
            input: usd(6.0),
            cache_read: Some(usd(0.6)),
            cache_write: Some(usd(7.5)),
            output: usd(22.5),
        };
        Price::try_from(vec![base, long]).expect("two tiers")
    }

    #[test]
    fn a_request_by_hand() {
        let usage = Usage { input: 1_000, cache_read: 600, cache_write: 100, output: 200, reasoning: 50 };
        let cost = cached_and_tiered().cost(&usage);
        assert_eq!(cost.input, NanoUsd(300 * 3_000 + 600 * 300 + 100 * 3_750));
        assert_eq!(cost.output, NanoUsd(200 * 15_000), "reasoning is part of the output and not counted twice");
    }

    #[test]
    fn the_tier_begins_above_its_figure_and_holds_for_every_token() {
        let price = cached_and_tiered();
        assert_eq!(price.estimate(200_000, 1).total(), NanoUsd(200_000 * 3_000 + 15_000));
        assert_eq!(price.estimate(200_001, 1).total(), NanoUsd(200_001 * 6_000 + 22_500));
    }

    #[test]
    fn rounding_happens_once_and_half_up() {
        let price = Price::flat(0.0005, 0.0).expect("a price");
        assert_eq!(price.estimate(1, 0).input, NanoUsd(1), "half a nano-dollar");
        assert_eq!(price.estimate(3, 0).input, NanoUsd(2), "one and a half");
        assert_eq!(price.estimate(1_000_000, 0).input, NanoUsd(500_000));
    }

    #[test]
    fn the_largest_counts_saturate() {
        let all =
            Usage { input: u64::MAX, cache_read: u64::MAX, cache_write: u64::MAX, output: u64::MAX, reasoning: 0 };
        let price = Price::flat(1e6, 1e6).expect("a price");
        assert_eq!(price.cost(&all).total(), NanoUsd(u64::MAX));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for wrong in [-0.01, f64::NAN, f64::INFINITY, 1e7] {
            assert!(Price::flat(wrong, 1.0).is_err(), "{wrong}");
        }
        let at = |above| Tier { above, input: usd(1.0), cache_read: None, cache_write: None, output: usd(1.0) };
        for wrong in [vec![], vec![at(5)], vec![at(0), at(0)], vec![at(0), at(9), at(8)]] {
            assert_eq!(Price::try_from(wrong), Err(InvalidPrice::Tiers));
        }
    }

    #[test]
    fn listed_decimals_are_exact() {
        for (listed, pico) in [(0.075, 75_000), (1.1, 1_100_000), (0.000001, 1), (37.5, 37_500_000), (0.0, 0)] {
            assert_eq!(usd(listed), Rate(pico));
            assert_eq!(usd(listed).usd_per_million(), listed);
        }
    }

    const RATES: std::ops::Range<u64> = 0..1_000_000_000;
    const TOKENS: std::ops::Range<u64> = 0..10_000_000;

    prop_compose! {
        /// A price whose later tiers are no cheaper, and whose cached tokens are never dearer than others.
        fn prices()(
            (input, output) in (RATES, RATES),
            read in prop::option::of(0..=100_u64),
            write in prop::option::of(0..=100_u64),
            steps in prop::collection::btree_map(1..1_000_000_u64, 0..1_000_000_u64, 0..3),
        ) -> Price {
            let percent = |share: Option<u64>, rate: u64| share.map(|share| Rate(rate * share / 100));
            let tier = |above, more| Tier {
                above,
                input: Rate(input + more),
                cache_read: percent(read, input + more),
                cache_write: percent(write, input + more),
                output: Rate(output + more),
            };
            let mut more = 0;
            let longer = steps.into_iter().map(|(above, step)| { more += step; tier(above, more) });
            let tiers: Vec<Tier> = std::iter::once(tier(0, 0)).chain(longer).collect();
            Price::try_from(tiers).expect("ascending tiers")
        }
    }

    fn usage(fresh: u64, cache_read: u64, cache_write: u64, output: u64) -> Usage {
        Usage { input: fresh + cache_read + cache_write, cache_read, cache_write, output, reasoning: 0 }
    }

    proptest! {
        #[test]
        fn nothing_costs_nothing(price in prices()) {
            prop_assert_eq!(price.cost(&Usage::default()), Cost::default());
        }

        #[test]
        fn more_tokens_of_any_kind_never_cost_less(
            price in prices(), counts in [TOKENS, TOKENS, TOKENS, TOKENS], which in 0..4_usize, more in TOKENS,
        ) {
            let mut larger = counts;
            larger[which] += more;
            let cost = |[fresh, read, write, output]: [u64; 4]| price.cost(&usage(fresh, read, write, output)).total();
            prop_assert!(cost(counts) <= cost(larger));
        }

        #[test]
        fn cached_tokens_are_never_dearer_than_others(
            price in prices(), fresh in TOKENS, read in TOKENS, write in TOKENS,
        ) {
            let cached = usage(fresh, read, write, 0);
            prop_assert!(price.cost(&cached).total() <= price.estimate(cached.input, 0).total());
        }

        #[test]
        fn a_flat_price_splits_into_its_parts(
            [input, output] in [RATES, RATES], fresh in TOKENS, read in TOKENS, write in TOKENS, out in TOKENS,
        ) {
            let base = Tier { above: 0, input: Rate(input), cache_read: None, cache_write: None, output: Rate(output) };
            let price = Price { base, longer: Box::default() };
            let cost = price.cost(&usage(fresh, read, write, out));
            prop_assert_eq!(cost.total(), NanoUsd(cost.input.0 + cost.output.0));
            prop_assert_eq!(cost, price.estimate(fresh + read + write, out), "without cache rates, cached is plain input");
            let parts = [(fresh, 0), (read, 0), (write, 0), (0, out)].map(|(i, o)| price.estimate(i, o).total().0);
            let sum: u64 = parts.iter().sum();
            prop_assert!(cost.total().0.abs_diff(sum) <= 2, "only rounding may differ");
        }

        #[test]
        fn no_usage_overflows(price in prices(), counts in any::<[u64; 4]>()) {
            let [input, cache_read, cache_write, output] = counts;
            price.cost(&Usage { input, cache_read, cache_write, output, reasoning: 0 });
        }
    }
}
