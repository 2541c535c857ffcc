//! `docmill pause`, `resume` and `reload`: what an operator tells a running server.

use clap::Args;
use reqwest::StatusCode;
use serde_json::Value;

use super::exit::{Exit, wrong_usage};
use super::print::print;
use super::remote::{Answered, Remote};

#[derive(Args)]
pub(super) struct One {
    /// The pipeline
    pipeline: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
pub(super) struct All {
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn pause(arguments: One) -> anyhow::Result<Exit> {
    let name = arguments.pipeline;
    let answered = arguments.remote.post(&path(&name, "pause")?).await?;
    let body = done(answered)?;
    print(&match body["changed"].as_bool() {
        Some(false) => format!("pipeline {name} is paused already"),
        _ => {
            format!("pipeline {name} is paused: what it had captured is written and confirmed, and it keeps its place")
        }
    })?;
    Ok(Exit::Fine)
}

pub(super) async fn resume(arguments: One) -> anyhow::Result<Exit> {
    let name = arguments.pipeline;
    let answered = arguments.remote.post(&path(&name, "resume")?).await?;
    let body = done(answered)?;
    print(&match body["changed"].as_bool() {
        Some(false) => format!("pipeline {name} runs already"),
        _ => format!("pipeline {name} starts"),
    })?;
    Ok(Exit::Fine)
}

pub(super) async fn reload(arguments: All) -> anyhow::Result<Exit> {
    let body = done(arguments.remote.post("api/v1/reload").await?)?;
    let mut text = String::new();
    for (key, what) in
        [("added", "added"), ("removed", "removed"), ("restarted", "restarted"), ("unchanged", "unchanged")]
    {
        let names = texts(&body[key]).join(", ");
        if !names.is_empty() {
            text.push_str(&format!("{what}: {names}\n"));
        }
    }
    texts(&body["notes"]).into_iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
    print(text.trim_end())?;
    Ok(Exit::Fine)
}

/// Names have no letter that a path would be read by; what is none is said before anybody is asked.
fn path(pipeline: &str, what: &str) -> anyhow::Result<String> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if pipeline.is_empty() || !pipeline.chars().all(letter) {
        return Err(wrong_usage("expected the name of a pipeline: lower-case letters, digits, `-` and `_`"));
    }
    Ok(format!("api/v1/pipelines/{pipeline}/{what}"))
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// The answer, or the refusal: with exit code 2 when what was named or configured is wrong.
fn done(answered: Answered) -> anyhow::Result<Value> {
    let Answered { status, body } = answered;
    if status.is_success() {
        return Ok(body);
    }
    let mut text = body["error"].as_str().unwrap_or("it was refused").to_owned();
    texts(&body["problems"]).into_iter().for_each(|problem| text.push_str(&format!("\n{problem}")));
    Err(match status {
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => wrong_usage(text),
        _ => anyhow::anyhow!(text),
    })
}
