//! The day as a picture: what a thousand answers cost, and how long the slowest twentieth of them took.

use std::fmt::Write;

pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) usd: f64,
    pub(crate) p95: f64,
    pub(crate) success_percent: f64,
    pub(crate) oracle: bool,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 60.0;
const TOP: f64 = 30.0;
const RIGHT: f64 = 150.0;

pub(crate) fn svg(points: &[Point]) -> String {
    let most = |figure: fn(&Point) -> f64| points.iter().map(figure).fold(0.0, f64::max) * 1.1;
    let (usd, p95) = (most(|point| point.usd), most(|point| point.p95));
    let x = |value: f64| LEFT + value / usd * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / p95 * (HEIGHT - BOTTOM - TOP);
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<title>A simulated day: cost and slowness of each strategy</title>\n<rect width=\"100%\" \
         height=\"100%\" fill=\"#fff\"/>\n<g stroke=\"#888\" fill=\"none\"><path d=\"M{LEFT} {TOP}V{0}H{1}\"/></g>\n",
        y(0.0),
        WIDTH - RIGHT
    );
    for tick in 0..=5 {
        let (dollars, slow) = (usd * f64::from(tick) / 5.0, p95 * f64::from(tick) / 5.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{dollars:.2}</text><text x=\"{:.1}\" \
             y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{slow:.0}</text>",
            x(dollars),
            y(0.0) + 18.0,
            LEFT - 8.0,
            y(slow) + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">US dollars for 1,000 answers</text><text x=\"{LEFT}\" \
         y=\"18\">seconds of the 95th percentile</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 14.0
    );
    // Labels that would lie on each other move down.
    let mut order: Vec<&Point> = points.iter().collect();
    order.sort_by(|a, b| y(a.p95).total_cmp(&y(b.p95)));
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for point in order {
        let (cx, cy) = (x(point.usd), y(point.p95));
        let mut label = cy + 4.0;
        while taken.iter().any(|(left, line)| (left - cx).abs() < 190.0 && (line - label).abs() < 15.0) {
            label += 3.0;
        }
        taken.push((cx, label));
        let colour = if point.oracle { "#b7791f" } else { "#2b6cb0" };
        let _ = writeln!(
            svg,
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"5\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{label:.1}\">{} \
             <tspan fill=\"#777\">{:.2} %</tspan></text>",
            cx + 9.0,
            point.name,
            point.success_percent
        );
    }
    svg.push_str("</svg>\n");
    svg
}
