//! How latencies are told: the same percentiles everywhere, and times in the unit that suits them.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// The percentiles that are told, by name.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];

/// p50, p90, p99, p99.9, p99.99 and the maximum, in the histogram's unit; none where nothing was measured.
pub fn percentiles(histogram: &Histogram<u64>) -> [(&'static str, Option<u64>); 6] {
    let value = |percentile| (!histogram.is_empty()).then(|| histogram.value_at_percentile(percentile));
    let [a, b, c, d, e] = PERCENTILES.map(|(name, percentile)| (name, value(percentile)));
    [a, b, c, d, e, ("max", value(100.0))]
}

/// The same of a histogram of ns, in us, with the mean and the count; null where nothing was measured.
pub fn in_us(histogram: &Histogram<u64>) -> Value {
    let values =
        percentiles(histogram).map(|(name, ns)| (name.to_owned(), json!(ns.map(|ns| ns as f64 / 1e3))));
    let mut object: Map<String, Value> = values.into_iter().collect();
    object.insert("mean".to_owned(), json!((!histogram.is_empty()).then(|| histogram.mean() / 1e3)));
    object.insert("count".to_owned(), json!(histogram.len()));
    Value::Object(object)
}

/// A time of so many ns in the unit that suits it.
pub fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}
