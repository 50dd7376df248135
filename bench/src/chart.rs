//! `docs/performance.svg`: each row's requests a second as a share of the bare handler's, and its goal.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Outcome;
use crate::rows::Row;
use crate::side::Side;

const WIDTH: i32 = 960;
/// Where the bars begin and end.
const LEFT: i32 = 370;
const RIGHT: i32 = 880;
const TOP: i32 = 84;
const BAR: i32 = 13;
const GAP: i32 = 16;

const INK: RGBColor = RGBColor(30, 36, 44);
const FAINT: RGBColor = RGBColor(205, 210, 216);

fn colour(side: Side) -> RGBColor {
    match side {
        Side::Weir => RGBColor(0, 90, 181),
        Side::Logged => RGBColor(110, 168, 224),
        Side::Plain => RGBColor(230, 120, 0),
        Side::Bare => RGBColor(120, 120, 120),
    }
}

/// Draws the rows.
pub(crate) fn draw(rows: &[Row]) -> Outcome<String> {
    let sides = [(Side::Weir, "weir"), (Side::Logged, "weir, access log on"), (Side::Plain, "plain async-graphql")];
    let shown = |row: &Row| sides.iter().filter(|(side, _)| row.side(*side).is_some()).count();
    let bars: i32 = rows.iter().map(|row| i32::try_from(shown(row)).unwrap_or(0) * BAR + GAP).sum();
    let height = TOP + bars + 40;
    let mut svg = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        let text = |points: i32, horizontal| {
            TextStyle::from(("sans-serif", points).into_font()).color(&INK).pos(Pos::new(horizontal, VPos::Center))
        };
        let title = "Requests a second, as a share of a bare HTTP handler with the same bytes";
        area.draw_text(title, &text(19, HPos::Left), (24, 26))?;
        let mut x = 24;
        for (side, name) in sides {
            area.draw(&Rectangle::new([(x, 48), (x + 14, 60)], colour(side).filled()))?;
            area.draw_text(name, &text(14, HPos::Left), (x + 20, 54))?;
            x += 44 + i32::try_from(name.len())? * 8;
        }
        area.draw(&PathElement::new([(x + 2, 46), (x + 2, 62)], INK.stroke_width(3)))?;
        area.draw_text("goal of weir", &text(14, HPos::Left), (x + 12, 54))?;
        let at = |share: f64| LEFT + share_of(share, RIGHT - LEFT);
        for percent in [0, 25, 50, 75, 100] {
            let x = at(f64::from(percent) / 100.0);
            area.draw(&PathElement::new([(x, TOP), (x, height - 34)], FAINT.stroke_width(1)))?;
            area.draw_text(&format!("{percent} %"), &text(13, HPos::Center), (x, height - 20))?;
        }
        let mut y = TOP + GAP / 2;
        for row in rows {
            let n_bars = i32::try_from(shown(row))?;
            let connections = row.plan.connections;
            let label = if connections == 1 { String::new() } else { format!(", {connections} conn.") };
            let label = format!("{}{label}", row.plan.work);
            area.draw_text(&label, &text(14, HPos::Right), (LEFT - 10, y + n_bars * BAR / 2))?;
            for (side, _) in sides {
                let Some(measured) = row.side(side) else { continue };
                let end = at(measured.ratio.min(1.05));
                area.draw(&Rectangle::new([(LEFT, y + 1), (end, y + BAR - 1)], colour(side).filled()))?;
                let percent = measured.ratio * 100.0;
                let percent = if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") };
                area.draw_text(&percent, &text(13, HPos::Left), (end + 5, y + BAR / 2))?;
                if let Some(goal) = row.plan.goal_ratio(side) {
                    let x = at(goal);
                    area.draw(&PathElement::new([(x, y - 1), (x, y + BAR + 1)], INK.stroke_width(3)))?;
                }
                y += BAR;
            }
            y += GAP;
        }
        area.present()?;
    }
    Ok(svg)
}

#[expect(clippy::cast_possible_truncation, reason = "pixels of a chart")]
fn share_of(share: f64, pixels: i32) -> i32 {
    (share * f64::from(pixels)) as i32
}
