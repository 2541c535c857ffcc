//! `docmill check`: everything that can be wrong, in one report, with what puts it right.

use std::io::IsTerminal;

use clap::Args;
use serde_json::json;

use super::ConfigFile;
use super::exit::{Exit, wrong_configuration};
use super::print::print;
use crate::config::{self, Problems};
use crate::edges::{Finding, Severity};
use crate::wiring;

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// The report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let file = &arguments.file.config;
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(problems) if arguments.json => {
            print(&serde_json::to_string_pretty(&unreadable(&problems))?)?;
            return Ok(Exit::Usage);
        }
        Err(problems) => return Err(wrong_configuration(&problems)),
    };
    let mut general = vec![Finding::ok("configuration", file.display().to_string())];
    general.extend(loaded.warnings.iter().map(|warning| Finding::warning("configuration", warning.as_str())));
    let pipelines = wiring::check(&loaded.settings).await?;
    let all = || general.iter().chain(pipelines.iter().flat_map(|(_, findings)| findings));
    let errors = all().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = all().filter(|finding| finding.severity == Severity::Warning).count();
    if arguments.json {
        let each: Vec<_> = pipelines
            .iter()
            .map(|(pipeline, findings)| json!({ "pipeline": pipeline, "findings": findings }))
            .collect();
        let report = json!({ "configuration": general, "pipelines": each, "errors": errors, "warnings": warnings });
        print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let mut text = String::new();
        general.iter().for_each(|finding| line(&mut text, finding, colours));
        for (pipeline, findings) in &pipelines {
            text.push_str(&format!("\npipeline {pipeline}\n"));
            findings.iter().for_each(|finding| line(&mut text, finding, colours));
        }
        text.push_str(&match (errors, warnings) {
            (0, 0) => "\neverything is as it should be".to_owned(),
            (0, _) => format!("\nit would run; {warnings} to think about"),
            _ => format!("\n{errors} to put right, {warnings} to think about"),
        });
        print(&text)?;
    }
    Ok(if errors > 0 { Exit::Found } else { Exit::Fine })
}

fn line(text: &mut String, finding: &Finding, colours: bool) {
    let (mark, colour) = match finding.severity {
        Severity::Ok => ("ok      ", "32"),
        Severity::Warning => ("warning ", "33"),
        Severity::Error => ("error   ", "31"),
    };
    let mark = if colours { format!("\x1b[{colour}m{mark}\x1b[0m") } else { mark.to_owned() };
    text.push_str(&format!("  {mark}{}: {}\n", finding.subject, finding.found));
    for remedy in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
        text.push_str(&format!("          {remedy}\n"));
    }
}

fn unreadable(problems: &Problems) -> serde_json::Value {
    json!({ "file": problems.file, "problems": problems.problems })
}
