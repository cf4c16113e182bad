//! Durations, sizes and rates: what is read, and how they are printed.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::units;

#[test]
fn durations_have_a_unit_and_are_never_zero() {
    let check = |text: &str, expected: Option<u128>| {
        assert_eq!(units::duration(text).map(|d| d.as_millis()), expected, "{text}")
    };
    check("500ms", Some(500));
    check("30s", Some(30_000));
    check("15m", Some(900_000));
    check("72h", Some(259_200_000));
    check("7d", Some(604_800_000));
    check("1h30m", Some(5_400_000));
    for wrong in [
        "",
        "0s",
        "5",
        "s",
        "-5s",
        "1.5s",
        "5 s",
        "5S",
        "3w",
        "5s ",
        "99999999999999999999s",
        "4000d",
        "18446744073709551615d",
    ] {
        check(wrong, None);
    }
}

#[test]
fn sizes_have_a_unit_and_are_never_zero() {
    let check = |text: &str, expected: Option<u64>| assert_eq!(units::bytes(text), expected, "{text}");
    check("8GiB", Some(8 << 30));
    check("512KiB", Some(512 << 10));
    check("1MB", Some(1_000_000));
    check("100B", Some(100));
    for wrong in ["", "0B", "8", "8gib", "8 GiB", "-1B", "GiB", "99999999999999TiB"] {
        check(wrong, None);
    }
}

#[test]
fn rates_count_per_period() {
    let check = |text: &str, expected: Option<(u32, u64)>| {
        assert_eq!(units::rate(text).map(|(count, per)| (count.get(), per.as_secs())), expected, "{text}");
    };
    check("200/s", Some((200, 1)));
    check("60/m", Some((60, 60)));
    check("1000/h", Some((1000, 3600)));
    for wrong in ["", "200", "/s", "0/s", "1.5/s", "200/sec", "200 /s", "-1/s", "4294967296/s"] {
        check(wrong, None);
    }
    let burst = |count, per| units::burst_of(NonZeroU32::new(count).unwrap(), Duration::from_secs(per)).get();
    assert_eq!((burst(200, 1), burst(1000, 3600), burst(7200, 3600)), (200, 1, 2));
}

#[test]
fn a_duration_is_printed_as_it_would_be_written() {
    for text in ["500ms", "30s", "15m", "3d", "7h"] {
        assert_eq!(units::written_duration(units::duration(text).unwrap()), text);
    }
    assert_eq!(units::written_duration(units::duration("72h").unwrap()), "3d");
    for text in ["200/s", "60/m", "990/h", "5/d"] {
        let (count, per) = units::rate(text).unwrap();
        assert_eq!(units::written_rate(count, per), text);
    }
}

#[test]
fn a_text_that_is_no_duration_says_why() {
    let check = |text: &str, expected: &str| assert_eq!(units::no_duration(text), expected, "{text}");
    check("0s", "is zero, and must be longer");
    check("0h0ms", "is zero, and must be longer");
    check("4000d", "is longer than ten years");
    for none in ["", "soon", "3w", "s", "-1s", "99999999999999999999s"] {
        check(none, "is no duration");
    }
}
