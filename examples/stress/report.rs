//! The page: two plots, the table and the parameters, complete in itself and readable by day and by night.

use std::fmt::Write as _;

use wheelhouse_examples::{
    AnyError, grouped,
    page::{Curve, escaped, head, latency, over_time, table},
};

use crate::summary::Summary;

pub(crate) fn page(summary: &Summary) -> Result<String, AnyError> {
    let mut page = head("stress report");
    let (verdict, class) = match (summary.interrupted, summary.is_good(), summary.options.no_verify) {
        (true, ..) => ("interrupted", "bad"),
        (_, false, _) => ("something was not as it should be: see the results", "bad"),
        (_, true, true) => ("every connection as it should be", "good"),
        (_, true, false) => ("every connection and every byte as it should be", "good"),
    };
    let options = &summary.options;
    let of = format!("{} connections to {}", grouped(options.connections.into()), escaped(&options.to));
    write!(page, "<h1>Stress report</h1>\n<p>{of}: <span class=\"verdict {class}\">{verdict}</span></p>\n")?;
    writeln!(page, "<h2>Latency by percentile, {}</h2>", summary.what_latency_is())?;
    page += &latency(&summary.tally.latency)?;
    page += "<h2>Throughput over time</h2>\n";
    page += &throughput(summary)?;
    page += "<h2>Results</h2>\n";
    page += &table(summary.rows());
    page += "<h2>Parameters</h2>\n";
    page += &table(parameters(summary));
    page += "</html>\n";
    Ok(page)
}

fn parameters(summary: &Summary) -> Vec<(String, String)> {
    let options = &summary.options;
    let mut rows = vec![
        ("to", options.to.clone()),
        ("connections", grouped(options.connections.into())),
        ("size", format!("{} B", grouped(options.size.into()))),
    ];
    match options.rate {
        Some(rate) => rows.push(("rate", format!("{rate} messages/s in total"))),
        None => rows.push(("pipeline", options.pipeline.to_string())),
    }
    rows.extend([
        (
            "ramp",
            match options.ramp {
                0 => "as fast as it goes".to_owned(),
                ramp => format!("{} connections/s", grouped(ramp.into())),
            },
        ),
        ("seconds", options.seconds.as_secs_f64().to_string()),
        ("drain", format!("{} s", options.drain.as_secs_f64())),
        ("reactors", summary.reactors.to_string()),
        ("sources", options.sources.to_string()),
        ("verify", if options.no_verify { "no" } else { "yes" }.to_owned()),
    ]);
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn throughput(summary: &Summary) -> Result<String, AnyError> {
    let span = summary.span.as_secs_f64();
    // The spans that were over: an interrupted run has fewer.
    let spans = (summary.ran.as_secs_f64() / span).floor() as usize;
    let points: Vec<(f64, f64)> = summary
        .tally
        .series
        .iter()
        .take(spans)
        .enumerate()
        .map(|(n, messages)| ((n as f64 + 0.5) * span, *messages as f64 / span))
        .collect();
    over_time("messages answered per second", &[Curve { name: "", points }])
}
