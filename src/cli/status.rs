//! `docmill status`: how the pipelines of a running server stand.

use clap::Args;
use serde_json::Value;

use super::exit::Exit;
use super::print::print;
use super::remote::Remote;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    remote: Remote,
    /// Everything that is known, as JSON
    #[arg(long)]
    json: bool,
}

const HEAD: [&str; 8] = ["PIPELINE", "PHASE", "WAITING ON", "LAG", "CONFIRMED", "DOCUMENTS", "REJECTED", "BUILDER"];

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let answered = arguments.remote.get("api/v1/status").await?;
    anyhow::ensure!(answered.status.is_success(), "{}", answered.body["error"].as_str().unwrap_or("it was refused"));
    if arguments.json {
        print(&serde_json::to_string_pretty(&answered.body)?)?;
        return Ok(Exit::Fine);
    }
    let pipelines = answered.body["pipelines"].as_array().map_or(&[][..], Vec::as_slice);
    print(table(pipelines).trim_end())?;
    Ok(Exit::Fine)
}

fn table(pipelines: &[Value]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(pipelines.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    for pipeline in pipelines {
        if let (Some(name), Some(failure)) = (pipeline["pipeline"].as_str(), pipeline["last_failure"].as_str()) {
            text.push_str(&format!("\n{name}: {failure}\n"));
        }
    }
    text
}

fn row(pipeline: &Value) -> [String; HEAD.len()] {
    let text = |key: &str| pipeline[key].as_str().unwrap_or("-").to_owned();
    let number = |key: &str| pipeline[key].as_u64().unwrap_or_default().to_string();
    let phase = match pipeline["paused_by"].as_str() {
        Some(by) => format!("{} by {by}", text("phase")),
        None => text("phase"),
    };
    let lag = pipeline["lag_ms"].as_u64().map_or_else(|| "-".to_owned(), |lag| format!("{lag} ms"));
    let builder = text("builder").chars().take(12).collect();
    [
        text("pipeline"),
        phase,
        text("waiting_on"),
        lag,
        text("confirmed_position"),
        number("documents"),
        number("rejected"),
        builder,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::table;

    #[test]
    fn columns_stand_below_each_other_and_failures_below_the_table() {
        let pipelines = [
            json!({ "pipeline": "shop", "phase": "live", "waiting_on": null, "lag_ms": 12, "confirmed_position": "0/A",
                "documents": 1500, "rejected": 0, "builder": "0123456789abcdef", "last_failure": null }),
            json!({ "pipeline": "a-longer-one", "phase": "paused", "paused_by": "failures", "waiting_on": "operator",
                "documents": 3, "rejected": 99, "builder": "", "last_failure": "it failed" }),
        ];
        let expected = "\
PIPELINE      PHASE               WAITING ON  LAG    CONFIRMED  DOCUMENTS  REJECTED  BUILDER
shop          live                -           12 ms  0/A        1500       0         0123456789ab
a-longer-one  paused by failures  operator    -      -          3          99

a-longer-one: it failed
";
        assert_eq!(table(&pipelines), expected);
    }
}
