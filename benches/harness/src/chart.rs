//! Pictures in SVG that can be read on a light and on a dark page.

use std::fmt::Write as _;

const STYLE: &str = "<style>text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}\
    .bar{fill:#8c959f}.ours{fill:#0969da}.line{fill:none;stroke:#0969da;stroke-width:2}\
    .axis{stroke:#8c959f}@media(prefers-color-scheme:dark){text{fill:#9198a1}}</style>";

/// A panel of horizontal bars for each title; the first bar of each is ours.
pub fn bars(panels: &[(String, Vec<(String, f64)>)]) -> String {
    const ROW: usize = 22;
    let rows = panels.first().map_or(0, |(_, rows)| rows.len());
    let height = panels.len() * (rows * ROW + 40) + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" role=\"img\">\
         <title>pollo-webhook beside other ways of writing it: less is better</title>{STYLE}\n"
    );
    let mut y = 24;
    for (title, rows) in panels {
        let most = rows.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let _ = writeln!(svg, "<text class=\"title\" x=\"10\" y=\"{y}\">{title}</text>");
        for (index, (name, value)) in rows.iter().enumerate() {
            let (top, class) = (y + 10 + index * ROW, if index == 0 { "bar ours" } else { "bar" });
            let (width, digits) = ((value / most * 440.0).max(1.0), usize::from(*value < 100.0));
            let _ = writeln!(
                svg,
                "<text x=\"210\" y=\"{}\" text-anchor=\"end\">{name}</text>\
                 <rect class=\"{class}\" x=\"220\" y=\"{top}\" width=\"{width:.0}\" height=\"16\" rx=\"2\"/>\
                 <text x=\"{:.0}\" y=\"{}\">{value:.digits$}</text>",
                top + 13,
                228.0 + width,
                top + 13
            );
        }
        y += rows.len() * ROW + 40;
    }
    svg + "</svg>\n"
}

/// A falling line through the points, each with the text below the axis, its height and the text above it.
pub fn line(title: &str, points: &[(String, f64, String)]) -> String {
    let most = points.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    let at = |index: usize, value: f64| (70 + index * 620 / (points.len() - 1), 240.0 - value / most * 180.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 290\" role=\"img\"><title>{title}</title>{STYLE}\n\
         <text class=\"title\" x=\"10\" y=\"24\">{title}</text>\n\
         <line class=\"axis\" x1=\"40\" y1=\"240\" x2=\"720\" y2=\"240\"/>\n<polyline class=\"line\" points=\""
    );
    for (index, (_, value, _)) in points.iter().enumerate() {
        let (x, y) = at(index, *value);
        let _ = write!(svg, "{x},{y:.0} ");
    }
    svg += "\"/>\n";
    for (index, (below, value, above)) in points.iter().enumerate() {
        let (x, y) = at(index, *value);
        // Beside the line, which comes from above, and the last one within the picture.
        let (beside, up, anchor) =
            if index + 1 < points.len() { (x + 8, 12.0, "start") } else { (x + 40, 32.0, "end") };
        let _ = writeln!(
            svg,
            "<circle class=\"ours\" cx=\"{x}\" cy=\"{y:.0}\" r=\"4\"/>\
             <text x=\"{beside}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{above}</text>\
             <text x=\"{x}\" y=\"262\" text-anchor=\"middle\">{below}</text>",
            y - up
        );
    }
    svg + "</svg>\n"
}
