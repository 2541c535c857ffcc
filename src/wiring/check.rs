//! Everything that can be wrong with settings and what they name, looked at without changing anything.

use std::path::Path;

use super::builders::Builders;
use crate::config::{Settings, SinkSettings};
use crate::edges::{DocumentBuilder, Failure, Finding};
use crate::opensearch::OpenSearch;
use crate::pipeline::captured_tables;
use crate::postgres;

/// Looks at everything that running these settings needs, and changes nothing: the findings of each pipeline.
///
/// # Errors
///
/// `Fatal` when the runtime for guests cannot be had.
pub async fn check(settings: &Settings) -> Result<Vec<(String, Vec<Finding>)>, Failure> {
    // A directory that this user made could not be used by the one who runs it.
    let mut builders = Builders::new(settings, false)?;
    let mut all = Vec::new();
    for pipeline in &settings.pipelines {
        let mut findings = Vec::new();
        let builder = builders.load(pipeline).await;
        let declaration = match &builder {
            Ok(builder) => {
                let declaration = builder.declaration();
                let indexes: Vec<_> = declaration.indexes.iter().map(|index| index.name.as_str()).collect();
                let found = format!("{}, makes {}", builder.version().short(), indexes.join(", "));
                findings.push(Finding::ok(format!("builder {}", pipeline.builder.display()), found));
                Some(declaration)
            }
            Err(failure) => {
                findings.push(finding(format!("builder {}", pipeline.builder.display()), failure));
                None
            }
        };
        let tables = declaration.map(|known| captured_tables(known, &pipeline.schema)).unwrap_or_default();
        let source = postgres::check(&settings.postgres_options(pipeline), &tables, declaration).await;
        findings.extend(source.into_iter().map(as_the_file_says));
        let indexes = declaration.map(|known| known.indexes.as_slice()).unwrap_or_default();
        match settings.sinks.get(&pipeline.sink) {
            Some(SinkSettings::Search(search)) => {
                match OpenSearch::connect(search.options(&pipeline.index_prefix)).await {
                    Ok(sink) => findings.extend(sink.check(indexes).await),
                    Err(failure) => findings.push(finding(format!("sink {}", pipeline.sink), &failure)),
                }
            }
            Some(SinkSettings::Lines(path)) => findings.push(lines(path)),
            Some(SinkSettings::Stdout) | None => {}
        }
        all.push((pipeline.name.clone(), findings));
    }
    Ok(all)
}

fn finding(subject: String, failure: &Failure) -> Finding {
    let mut found = failure.message().to_owned();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        found.push_str(&format!(": {error}"));
        cause = error.source();
    }
    let finding = Finding::error(subject, found);
    match failure.advice() {
        Some(advice) => finding.with_remedy(advice),
        None => finding,
    }
}

/// The source's own options have other names than the keys of the file.
fn as_the_file_says(mut finding: Finding) -> Finding {
    let key = |text: &str| text.replace("reader_url", "reader.url");
    finding.subject = key(&finding.subject);
    finding.found = key(&finding.found);
    finding.remedy = finding.remedy.as_deref().map(key);
    finding
}

/// Whether a file of lines could be written, without making it.
fn lines(path: &Path) -> Finding {
    let subject = format!("sink {}", path.display());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (path.is_dir(), directory.is_dir()) {
        (true, _) => Finding::error(subject, "it is a directory").with_remedy("name a file with `path`"),
        (_, false) => Finding::error(subject, format!("there is no directory {}", directory.display()))
            .with_remedy(format!("mkdir -p {}", directory.display())),
        _ => Finding::ok(subject, "documents are added to it"),
    }
}
