//! The chart of docs/performance.md, as an SVG for light and dark pages.

use std::fmt::Write as _;

const STYLE: &str = "<style>text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-weight:600}\
    .bar{fill:#8c959f}.ours{fill:#0969da}@media(prefers-color-scheme:dark){text{fill:#9198a1}}</style>";

/// A panel of horizontal bars for each title. The first bar of each panel is pollo-webhook.
pub fn bars(panels: &[(&str, Vec<(&str, f64)>)]) -> String {
    const ROW: usize = 22;
    let rows = panels.first().map_or(0, |(_, rows)| rows.len());
    let height = panels.len() * (rows * ROW + 40) + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" role=\"img\">\
         <title>pollo-webhook compared with other implementations: less is better</title>{STYLE}\n"
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
