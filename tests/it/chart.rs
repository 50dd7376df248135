//! `docs/quota.svg` is made from the arrival logs of real runs, and is the chart that this code draws.

use std::time::Duration;

use plotters::prelude::*;

use crate::support::disciplines::{Discipline, drive};

const LIMIT: usize = 50;
/// Seconds of each run that are drawn.
const SHOWN: f64 = 8.0;

/// For each hundredth of a second, how many calls arrived in the second before it.
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn sliding(arrivals: &[Duration]) -> Vec<(f64, f64)> {
    let steps = (0..).map(|step| f64::from(step) / 100.0).take_while(|at| *at <= SHOWN);
    let count = |at: f64| arrivals.iter().filter(|arrival| (at - 1.0..at).contains(&arrival.as_secs_f64())).count();
    steps.map(|at| (at, count(at) as f64)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "the limit is small")]
fn draw(weir: &[Duration], bucket: &[Duration]) -> Result<String, Box<dyn std::error::Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(16)
            .caption("Arrivals in the second before, 600 calls at once, limit 50 a second", ("sans-serif", 18))
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..SHOWN, 0.0..110.0)?;
        chart
            .configure_mesh()
            .x_desc("seconds")
            .y_desc("arrivals")
            .y_label_formatter(&|y| format!("{y:.0}"))
            .x_label_formatter(&|x| format!("{x:.0}"))
            .light_line_style(WHITE)
            .draw()?;
        let (blue, orange, red) = (RGBColor(0, 90, 181), RGBColor(230, 120, 0), RGBColor(200, 30, 30));
        let limit = [(0.0, LIMIT as f64), (SHOWN, LIMIT as f64)];
        chart
            .draw_series(LineSeries::new(limit, red.stroke_width(1)))?
            .label("the vendor's limit")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], red));
        chart
            .draw_series(LineSeries::new(sliding(bucket), orange.stroke_width(2)))?
            .label("token bucket, burst 50")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], orange.stroke_width(2)));
        chart
            .draw_series(LineSeries::new(sliding(weir), blue.stroke_width(2)))?
            .label("weir")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], blue.stroke_width(2)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(RGBColor(160, 160, 160))
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

#[tokio::test(start_paused = true)]
async fn the_chart_of_the_document_is_drawn_from_arrival_logs() {
    let weir = drive(Discipline::Weir, LIMIT, 25..125, 0..50, 3).await;
    let bucket = drive(Discipline::GcraBurst, LIMIT, 25..125, 0..50, 3).await;
    assert!(weir.widest <= LIMIT && bucket.widest > LIMIT + LIMIT / 2, "{} {}", weir.widest, bucket.widest);
    let svg = draw(&weir.arrivals, &bucket.arrivals).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/quota.svg");
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(path, &svg).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == svg,
        "docs/quota.svg is not what the arrival logs show; WEIR_BLESS=1 cargo nextest run --test it chart"
    );
}
