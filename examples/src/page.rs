//! Pages that are complete in themselves and readable by day and by night: their beginning, tables, and what plots have in common.

use std::fmt::{Display, Write as _};

use hdrhistogram::Histogram;
use plotters::{chart::MeshStyle, coord::Shift, prelude::*};

use crate::{AnyError, grouped};

/// Of a plot.
const SIZE: (u32, u32) = (860, 360);
/// Of the first curve, the second, and the third.
const COLOURS: [RGBColor; 3] = [RGBColor(47, 124, 208), RGBColor(216, 133, 32), RGBColor(52, 150, 92)];
const CURVE: RGBColor = COLOURS[0];

/// Drawn in this colour means drawn in the page's own text colour, which differs by day and by night.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_IN_SVG: &str = "\"#010203\"";

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"color-scheme\" content=\"light dark\">
";

const STYLE: &str = "<style>
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --bad: #b3261e; --good: #1b7f3b }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181c; --line: #383c44; --bad: #ff8a80; --good: #7fd69a }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 900px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.verdict { font-weight: 600 } .good { color: var(--good) } .bad { color: var(--bad) }
svg { width: 100%; height: auto; display: block; font-family: system-ui, sans-serif }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
td, th { border-top: 1px solid var(--line); padding: .25rem 1rem .25rem 0; vertical-align: top; overflow-wrap: anywhere }
th { text-align: left; font-weight: 600; border-top: 0 }
td:first-child { white-space: pre; width: 9rem } .many td:first-child { width: auto; white-space: normal }
.many td, .many th { overflow-wrap: normal; padding-right: .7rem }
</style>
";

/// The beginning of a page, with a title.
pub fn head(title: &str) -> String {
    format!("{HEAD}<title>{}</title>\n{STYLE}", escaped(title))
}

/// Names and values.
pub fn table(rows: impl IntoIterator<Item = (impl Display, impl Display)>) -> String {
    let mut table = String::from("<table>\n");
    for (name, value) in rows {
        let _ = writeln!(table, "<tr><td>{}<td>{}", escaped(&name.to_string()), escaped(&value.to_string()));
    }
    table + "</table>\n"
}

/// Rows of many columns under their names.
pub fn columns(names: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = String::from("<table class=\"many\">\n<tr>");
    for name in names {
        let _ = write!(table, "<th>{}", escaped(name));
    }
    for row in rows {
        table += "\n<tr>";
        for cell in row {
            let _ = write!(table, "<td>{}", escaped(cell));
        }
    }
    table + "\n</table>\n"
}

/// The percentile curve: the axis counts nines, so that the tail has as much room as it deserves. A histogram of ns.
///
/// # Errors
/// What drawing came to.
pub fn latency(histogram: &Histogram<u64>) -> Result<String, AnyError> {
    if histogram.is_empty() {
        return Ok("<p>Nothing was measured.</p>\n".to_owned());
    }
    let most_nines = (histogram.len() as f64).log10().clamp(1.0, 6.0);
    let points: Vec<(f64, f64)> = (0..=400)
        .map(|step| most_nines * f64::from(step) / 400.0)
        .map(|nines| (nines, histogram.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64))
        .collect();
    // A little room above and below, and never an empty range.
    let (least, most) = (histogram.min().max(2) as f64 / 1.25, histogram.max() as f64 * 1.25 + 1.0);
    let values = (least..most).log_scale().with_key_points(round_values(least, most));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = chart_on(&root).build_cartesian_2d(0.0..most_nines, values)?;
        let label = |nines: &f64| percentile_name(*nines);
        let mut mesh = chart.configure_mesh();
        in_ink(&mut mesh)
            .x_labels(most_nines as usize + 1)
            .x_label_formatter(&label)
            .y_label_formatter(&|ns| short_time(*ns))
            .x_desc("percentile of the messages")
            .draw()?;
        chart.draw_series(LineSeries::new(points, CURVE.stroke_width(2)))?;
        root.present()?;
    }
    Ok(inked(svg))
}

/// Something over time, in seconds.
pub struct Curve<'a> {
    /// What it is called, where there are several.
    pub name: &'a str,
    /// The second, and the value.
    pub points: Vec<(f64, f64)>,
}

/// What changes over time: filled below where it is one curve, with a legend where there are up to three.
///
/// # Errors
/// What drawing came to.
pub fn over_time(what: &str, curves: &[Curve<'_>]) -> Result<String, AnyError> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    if points().count() == 0 {
        return Ok("<p>Nothing was measured.</p>\n".to_owned());
    }
    let last = points().map(|(second, _)| *second).fold(1e-3, f64::max);
    let most = points().map(|(_, value)| *value).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = chart_on(&root).build_cartesian_2d(0.0..last, 0.0..most * 1.15)?;
        let mut mesh = chart.configure_mesh();
        in_ink(&mut mesh)
            .x_labels(10)
            // Or all of a few would be 0 and 1.
            .y_label_formatter(&|value| match most < 10.0 {
                true => format!("{value:.1}"),
                false => grouped(*value as u64),
            })
            .x_desc("seconds")
            .y_desc(what)
            .draw()?;
        if let [curve] = curves {
            let area = AreaSeries::new(curve.points.iter().copied(), 0.0, CURVE.mix(0.2));
            chart.draw_series(area.border_style(CURVE.stroke_width(2)))?;
        } else {
            for (curve, colour) in curves.iter().zip(COLOURS) {
                chart
                    .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?
                    .label(curve.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .label_font(text())
                .draw()?;
        }
        root.present()?;
    }
    Ok(inked(svg))
}

/// All plots have the same margins, so that they stand in line.
fn chart_on<'a, 'b>(root: &'a DrawingArea<SVGBackend<'b>, Shift>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(root);
    chart.margin(10).margin_right(30).x_label_area_size(48).y_label_area_size(92);
    chart
}

/// All plots have the same lines, and labels like the page's own text.
fn in_ink<'c, 'a, 'b, 'd, X: Ranged, Y: Ranged>(
    mesh: &'c mut MeshStyle<'a, 'b, X, Y, SVGBackend<'d>>,
) -> &'c mut MeshStyle<'a, 'b, X, Y, SVGBackend<'d>> {
    mesh.axis_style(INK.mix(0.6))
        .bold_line_style(INK.mix(0.15))
        .light_line_style(INK.mix(0.05))
        .max_light_lines(4)
        .label_style(text())
}

fn text() -> TextStyle<'static> {
    ("sans-serif", 14).into_font().color(&INK)
}

/// The plot in the page's colours.
fn inked(svg: String) -> String {
    svg.replace(INK_IN_SVG, "\"currentColor\"") + "\n"
}

/// The powers of ten between the two, and when these are few their double and fivefold too.
fn round_values(least: f64, most: f64) -> Vec<f64> {
    let steps: &[f64] = if most / least > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let values = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    values.filter(|value| (least..most).contains(value)).collect()
}

/// 0 nines are the least, 1 is p90, 2 are p99.
fn percentile_name(nines: f64) -> String {
    let percentile = 100.0 * (1.0 - 10f64.powf(-nines));
    match nines {
        ..0.01 => "p0".to_owned(),
        ..2.01 => format!("p{percentile:.0}"),
        _ => format!("p{percentile:.*}", nines.round() as usize - 2),
    }
}

fn short_time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.0} µs", ns / 1e3),
        ..1e9 => format!("{:.0} ms", ns / 1e6),
        _ => format!("{:.0} s", ns / 1e9),
    }
}

/// Text as it stands in a page.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
