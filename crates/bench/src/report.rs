//! What a run found: one table for people, or one JSON line for machines.
#![allow(clippy::print_stdout)]

use std::{fmt, io::Write as _};

use serde_json::{Map, Value};

use crate::{histogram::Histogram, ledger::Faults};

/// Named figures in the order in which they are shown; the unit is the name's last word.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) title: String,
    figures: Vec<(String, f64)>,
    pub(crate) faults: Faults,
    /// The first few errors in words.
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), figures: Vec::new(), faults: Faults::default(), notes: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.figures.push((name.to_owned(), value));
    }

    /// p50, p99, p99.9 and the maximum of a histogram of nanoseconds, in microseconds.
    pub(crate) fn add_latency(&mut self, prefix: &str, histogram: &Histogram) {
        if histogram.is_empty() {
            return;
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)] {
            self.add(&format!("{prefix}_{name}_us"), histogram.quantile(share) as f64 / 1e3);
        }
        self.add(&format!("{prefix}_max_us"), histogram.max() as f64 / 1e3);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    pub(crate) fn show(&self, as_json: bool) {
        if as_json { line(&self.to_json().to_string()) } else { line(&self.to_string()) }
    }

    fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("scenario".to_owned(), Value::from(self.title.as_str()));
        for (name, value) in &self.figures {
            object.insert(name.clone(), Value::from(*value));
        }
        object.insert("faults".to_owned(), serde_json::to_value(self.faults).unwrap_or_default());
        object.insert("ok".to_owned(), Value::from(!self.faults.any()));
        if !self.notes.is_empty() {
            object.insert("notes".to_owned(), Value::from(self.notes.clone()));
        }
        Value::Object(object)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        for (name, value) in &self.figures {
            writeln!(f, "  {name:<36} {:>16}", number(*value))?;
        }
        let Faults { order, duplicates, losses, misrouted, corrupt, errors, silent_gaps } = self.faults;
        for (name, count) in [
            ("order violations", order),
            ("duplicates", duplicates),
            ("losses", losses),
            ("misrouted", misrouted),
            ("corrupt", corrupt),
            ("errors", errors),
            ("gaps not told", silent_gaps),
        ] {
            writeln!(f, "  {name:<36} {count:>16}{}", if count > 0 { "  <-- FAULT" } else { "" })?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }
}

/// Thousands apart, and as many decimals as say something.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text.as_str(), None),
    };
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{grouped}.{fraction}"),
        None => grouped,
    }
}

/// One line to standard output, at once: scripts read it through a pipe.
pub(crate) fn line(text: &str) {
    println!("{text}");
    // A reader that has gone is no reason to fail.
    let _ = std::io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (value, text) in [
            (0.0, "0"),
            (7_912_345.6, "7,912,346"),
            (0.1264, "0.126"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (-1500.0, "-1,500"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
