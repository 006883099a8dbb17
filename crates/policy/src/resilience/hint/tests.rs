use proptest::prelude::*;

use super::*;

/// Wednesday, 21 October 2015, 07:28:00 GMT.
const NOW: Timestamp = Timestamp::constant(1_445_412_480, 0);

fn wait_of(headers: &[(&str, &str)]) -> Option<f64> {
    let find = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    wait(find, NOW).map(|wait| wait.as_secs_f64())
}

fn quota_of(headers: &[(&str, &str)]) -> UpstreamQuota {
    UpstreamQuota::read(headers.iter().copied(), || NOW)
}

#[test]
fn the_three_ways_to_say_retry_after() {
    let cases = [
        ("1", 1.0),
        (" 0.5 ", 0.5),
        ("120", 120.0),
        ("3600", 300.0),
        ("86400", 300.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2015", 30.0),
        ("Wed, 21 Oct 2015 09:28:00 GMT", 300.0),
    ];
    for (value, seconds) in cases {
        assert_eq!(wait_of(&[("retry-after", value)]), Some(seconds), "{value}");
    }
    assert_eq!(wait_of(&[("retry-after-ms", "1500"), ("retry-after", "9")]), Some(1.5));
    assert_eq!(wait_of(&[("retry-after-ms", "-1"), ("retry-after", "9")]), Some(9.0));
}

#[test]
fn what_cannot_be_meant_says_nothing() {
    let junk = [
        "0",
        "-1",
        "NaN",
        "nan",
        "inf",
        "-inf",
        "1e9",
        "1e400",
        "soon",
        "",
        "1 s",
        "86401",
        "1e-10",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:27:59 GMT",
        "Fri, 23 Oct 2015 07:28:00 GMT",
        "99999999999999999999999999",
    ];
    for value in junk {
        for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset-requests", "anthropic-ratelimit-tokens-reset"]
        {
            if name == "retry-after-ms" && ["86401", "1e9"].contains(&value) {
                continue;
            }
            if name != "retry-after" && name != "retry-after-ms" && value == "1 s" {
                continue;
            }
            let found = wait_of(&[(name, value)]);
            assert_eq!(found, None, "{name}: {value}");
        }
    }
    assert_eq!(wait_of(&[]), None);
}

#[test]
fn resets_in_every_spelling() {
    let cases = [
        ("12ms", 0.012),
        ("1s", 1.0),
        ("6m0s", 300.0),
        ("4m0s", 240.0),
        ("2m59.56s", 179.56),
        ("1h2m", 300.0),
        ("7.66s", 7.66),
        ("45", 45.0),
        ("1445412500", 20.0),
        ("1445412500000", 20.0),
        ("2015-10-21T07:28:10Z", 10.0),
        ("2015-10-21T09:28:10.5+02:00", 10.5),
    ];
    for name in ["x-ratelimit-reset-tokens", "x-ratelimit-reset", "anthropic-ratelimit-requests-reset"] {
        for (value, seconds) in cases {
            assert_eq!(wait_of(&[(name, value)]), Some(seconds), "{name}: {value}");
        }
    }
    for junk in
        ["1445412480", "1445412000", "5000000", "2015-10-21T07:28:00Z", "2016-10-21T07:28:00Z", "m", "1x", "1.2.3s"]
    {
        assert_eq!(wait_of(&[("x-ratelimit-reset", junk)]), None, "{junk}");
    }
}

#[test]
fn only_the_limit_that_is_used_up_counts() {
    let tokens_gone = [
        ("x-ratelimit-remaining-requests", "99"),
        ("x-ratelimit-reset-requests", "200s"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "7s"),
    ];
    assert_eq!(wait_of(&tokens_gone), Some(7.0));
    assert_eq!(wait_of(&tokens_gone[..2]), None);
    let both_gone = [tokens_gone[1], ("x-ratelimit-remaining-requests", "0"), tokens_gone[2], tokens_gone[3]];
    assert_eq!(wait_of(&both_gone), Some(200.0));
    let unknown = [tokens_gone[1], tokens_gone[3]];
    assert_eq!(wait_of(&unknown), Some(7.0));
}

#[test]
fn the_quota_of_an_answer_is_its_tightest_of_each_kind() {
    let openai = quota_of(&[
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "3s"),
    ]);
    let requests = openai.of(Limited::Requests).unwrap();
    assert_eq!((requests.remaining, requests.limit), (9999, Some(10_000)));
    assert_eq!(requests.reset, Some(Duration::from_millis(6)));
    assert_eq!(openai.of(Limited::Tokens).map(|left| left.share()), Some(0.0));

    let cerebras = quota_of(&[
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-requests", "9"),
        ("x-ratelimit-limit-requests-day", "1000"),
        ("x-ratelimit-remaining-requests-day", "10"),
    ]);
    assert_eq!(cerebras.of(Limited::Requests).map(|left| left.limit), Some(Some(1_000)));

    let anthropic = quota_of(&[
        ("anthropic-ratelimit-tokens-limit", "1000"),
        ("anthropic-ratelimit-tokens-remaining", "900"),
        ("anthropic-ratelimit-output-tokens-limit", "100"),
        ("anthropic-ratelimit-output-tokens-remaining", "10"),
        ("anthropic-ratelimit-output-tokens-reset", "2015-10-21T07:29:00Z"),
    ]);
    assert_eq!(anthropic.of(Limited::Tokens).map(|left| left.share()), Some(0.9));
    let output = anthropic.of(Limited::OutputTokens).unwrap();
    assert_eq!((output.share(), output.reset), (0.1, Some(Duration::from_secs(60))));
    assert_eq!((anthropic.of(Limited::Requests), anthropic.of(Limited::InputTokens)), (None, None));
}

#[test]
fn a_quota_that_cannot_be_meant_says_nothing() {
    for azure in [
        [("x-ratelimit-remaining-requests", "-1"), ("x-ratelimit-limit-requests", "-1")],
        [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "0")],
        [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-limit-requests", "0")],
        [("x-ratelimit-remaining-requests", "7"), ("x-ratelimit-limit-requests", "5")],
        [("x-ratelimit-remaining-requests", "some"), ("x-ratelimit-limit-requests", "5")],
        [("x-ratelimit-remaining", "7"), ("x-ratelimit-limit", "50")],
    ] {
        assert!(quota_of(&azure).is_empty(), "{azure:?}");
    }
    let counted = quota_of(&[("x-ratelimit-remaining-requests", "249"), ("x-ratelimit-reset-requests", "0")]);
    assert_eq!(counted.of(Limited::Requests), Some(Left { remaining: 249, limit: None, reset: None }));
    // Nobody looks at a clock for an answer without limits.
    let other = [("content-type", "text/plain"), ("x-ratelimit-abusepenalty-active", "False")];
    assert!(UpstreamQuota::read(other.into_iter(), || panic!("a clock")).is_empty());
}

/// Values near to what providers send, and far from it.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        (-10.0..100_000.0f64).prop_map(|number| format!("{number}")),
        "[0-9]{0,20}(ms|s|m|h|d|us|ns|x)?[0-9.]{0,5}(ms|s|m|h)?",
        (any::<i32>(), 0..100u8).prop_map(|(at, day)| format!("Wed, {day} Oct {at} 07:28:00 GMT")),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+]02:00|)",
    ]
}

proptest! {
    #[test]
    fn any_headers_give_a_sane_wait_or_none(
        values in prop::collection::vec(prop::option::of(value()), 2 + 3 * ROWS.len()),
        now in -1_000_000_000_000..253_402_207_200i64,
    ) {
        let mut names = vec!["retry-after-ms", "retry-after"];
        names.extend(ROWS.iter().flat_map(|row| [row.limit, row.remaining, row.reset]));
        let now = Timestamp::from_second(now.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second())).unwrap();
        let find = |name: &str| {
            let index = names.iter().position(|known| *known == name)?;
            values[index].as_deref()
        };
        if let Some(wait) = wait(find, now) {
            prop_assert!(!wait.is_zero() && wait <= LONGEST_REST);
        }
        let headers = names.iter().zip(&values).filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let quota = UpstreamQuota::read(headers, || now);
        for left in Limited::ALL.into_iter().filter_map(|what| quota.of(what)) {
            prop_assert!((0.0..=1.0).contains(&left.share()));
            prop_assert!(left.reset.is_none_or(|reset| !reset.is_zero() && reset.as_secs() <= 86_400));
        }
    }

    #[test]
    fn whole_seconds_are_taken_at_their_word(seconds in 1..=300u64) {
        prop_assert_eq!(wait_of(&[("retry-after", &seconds.to_string())]), Some(seconds as f64));
    }
}
