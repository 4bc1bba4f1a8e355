//! The goals of issue 2, "How fast", and of issue 3 for Realtime Pub/Sub, as a table of what was measured against them.

use std::fmt::Write as _;

use super::Runs;
use crate::report::number;

enum Limit {
    /// At most this many times the baseline's figure in the same run.
    TimesRaw(f64),
    /// At least or at most this many times the same figure of another case on the same server.
    AtLeastCase(&'static str, f64),
    AtMostCase(&'static str, f64),
    AtLeast(f64),
    AtMost(f64),
}

struct Goal {
    case: &'static str,
    figure: &'static str,
    limit: Limit,
    /// Where a number comes from that was not measured in this run.
    origin: &'static str,
}

const UWS: &str = "uWebSockets, on another two-core machine";

const fn goal(case: &'static str, figure: &'static str, limit: Limit) -> Goal {
    Goal { case, figure, limit, origin: "" }
}

const GOALS: &[Goal] = &[
    Goal { case: "fanout-100", figure: "deliveries_per_s", limit: Limit::AtLeast(4.9e6), origin: UWS },
    goal("fanout-100", "server_cpu_us_per_delivery", Limit::TimesRaw(1.5)),
    goal("fanout-100-msgpack", "deliveries_per_s", Limit::AtLeastCase("fanout-100", 1.0)),
    goal("fanout-100-realtime-pubsub", "deliveries_per_s", Limit::AtLeastCase("fanout-100", 0.9)),
    goal("fanout-100-realtime-pubsub", "server_cpu_us_per_delivery", Limit::AtMostCase("fanout-100", 1.1)),
    Goal { case: "fanout-1000", figure: "deliveries_per_s", limit: Limit::AtLeast(1.6e6), origin: UWS },
    goal("fanout-1000", "server_cpu_us_per_delivery", Limit::TimesRaw(1.5)),
    goal("many", "server_cpu_us_per_delivery", Limit::TimesRaw(1.4)),
    goal("rate", "latency_p50_us", Limit::TimesRaw(1.3)),
    goal("rate", "latency_p99_us", Limit::TimesRaw(1.3)),
    goal("rate", "server_cpu_us_per_delivery", Limit::TimesRaw(1.5)),
    goal("connect", "clients_per_s", Limit::AtLeast(10_000.0)),
    goal("connect", "server_cpu_us_per_client", Limit::AtMost(80.0)),
    goal("durable", "times_single_appends", Limit::AtLeast(10.0)),
    goal("idle", "server_kib_per_connection", Limit::AtMost(4.0)),
    goal("stalled", "p99_stalled_to_calm", Limit::AtMost(1.1)),
    goal("stalled", "told_of_those_that_missed", Limit::AtLeast(1.0)),
];

/// A Markdown table of the goals that can be judged, and how many of them were missed.
pub(super) fn table(all: &[Runs]) -> (String, usize) {
    let median = |case: &str, contender: &str, figure: &str| {
        all.iter().find(|runs| runs.case.name == case && runs.contender == contender)?.median(figure)
    };
    let mut text = String::from("| goal | limit | measured | met |\n| --- | --- | --- | --- |\n");
    let (mut missed, mut judged) = (0, 0);
    for Goal { case, figure, limit, origin } in GOALS {
        let Some(value) = median(case, "fanfare", figure) else { continue };
        let origin = if origin.is_empty() { String::new() } else { format!(" ({origin})") };
        let (limit, measured, met) = match limit {
            Limit::TimesRaw(times) => {
                let Some(raw) = median(case, "raw", figure) else { continue };
                let ratio = value / raw;
                (format!("at most {times}x raw"), format!("{ratio:.2}x"), ratio <= *times)
            }
            Limit::AtLeastCase(other, times) => {
                let Some(base) = median(other, "fanfare", figure) else { continue };
                let ratio = value / base;
                (format!("at least {times}x {other}"), format!("{ratio:.2}x"), ratio >= *times)
            }
            Limit::AtMostCase(other, times) => {
                let Some(base) = median(other, "fanfare", figure) else { continue };
                let ratio = value / base;
                (format!("at most {times}x {other}"), format!("{ratio:.2}x"), ratio <= *times)
            }
            Limit::AtLeast(least) => (format!("at least {}", number(*least)), number(value), value >= *least),
            Limit::AtMost(most) => (format!("at most {}", number(*most)), number(value), value <= *most),
        };
        judged += 1;
        missed += usize::from(!met);
        let met = if met { "yes" } else { "**no**" };
        let _ = writeln!(text, "| {case}: {figure} | {limit}{origin} | {measured} | {met} |");
    }
    if judged == 0 {
        text = "No goal can be judged without a server.\n".to_owned();
    }
    (text, missed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Report, suite::cases::CASES};

    fn runs(case: &str, contender: &str, figure: &str, values: &[f64]) -> Runs {
        let case = CASES.iter().find(|known| known.name == case).unwrap();
        let report = |value: &f64| {
            let mut report = Report::new("t");
            report.add(figure, *value);
            report
        };
        Runs { case, contender: contender.to_owned(), reports: values.iter().map(report).collect() }
    }

    #[test]
    fn medians_are_judged_and_not_means() {
        let figure = "server_cpu_us_per_delivery";
        let all = [
            runs("many", "raw", figure, &[1.0, 1.0, 1.0]),
            runs("many", "fanfare", figure, &[1.3, 9.0, 1.2]),
            runs("connect", "fanfare", "clients_per_s", &[9_000.0]),
        ];
        let (text, missed) = table(&all);
        assert!(
            text.contains("| many: server_cpu_us_per_delivery | at most 1.4x raw | 1.30x | yes |"),
            "{text}"
        );
        assert!(text.contains("| at least 10,000 | 9,000 | **no** |"), "{text}");
        assert_eq!(missed, 1);
    }

    #[test]
    fn every_goal_names_a_case() {
        let is_case = |name: &str| CASES.iter().any(|case| case.name == name);
        for goal in GOALS {
            assert!(is_case(goal.case), "{}", goal.case);
            if let Limit::AtLeastCase(other, _) | Limit::AtMostCase(other, _) = goal.limit {
                assert!(is_case(other), "{other}");
            }
        }
    }
}
