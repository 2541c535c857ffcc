//! What `docmill check` asks of the sink, without writing.

use reqwest::Method;

use super::generations::Behind;
use super::mapping::{self, Difference};
use super::sink::{Engine, OpenSearch};
use crate::edges::Finding;
use crate::model::IndexDeclaration;

impl OpenSearch {
    /// Looks at everything that writing these indexes needs; changes nothing.
    pub async fn check(&self, indexes: &[IndexDeclaration]) -> Vec<Finding> {
        let name = match self.engine {
            Engine::OpenSearch => "OpenSearch",
            Engine::Elasticsearch => "Elasticsearch",
        };
        let mut findings = vec![Finding::ok(format!("sink {}", self.client.shown), format!("{name} {}", self.version))];
        match self.call(Method::GET, "_cluster/health", None, "ask for the cluster's health").await {
            Ok(answer) if answer.body["status"] == "red" => {
                findings.push(Finding::warning("cluster health", "red: writes to some shards will wait"));
            }
            Ok(_) => {}
            Err(failure) => findings.push(Finding::warning("cluster health", failure.chain())),
        }
        for index in indexes {
            findings.push(self.check_index(index).await);
        }
        findings
    }

    async fn check_index(&self, index: &IndexDeclaration) -> Finding {
        let alias = self.alias(&index.name);
        let subject = format!("index {}", index.name);
        let wanted =
            match mapping::mapping(index, self.engine).and_then(|wanted| mapping::settings(index).map(|_| wanted)) {
                Ok(wanted) => wanted,
                Err(failure) => return Finding::error(subject, failure.to_string()),
            };
        match self.behind(&alias).await {
            Err(failure) => Finding::error(subject, failure.chain()),
            Ok(Behind::Nothing) => Finding::ok(subject, format!("{alias} is free and will be made and filled")),
            Ok(Behind::Foreign(found)) => Finding::error(subject, format!("the name {alias} is taken by {found}"))
                .with_remedy("use an index_prefix, or remove what has the name"),
            Ok(Behind::Ours(name, there)) => match mapping::compare(&wanted, &there["mappings"]) {
                Difference::None => Finding::ok(subject, format!("{name}, its mapping fits")),
                Difference::Added => Finding::ok(subject, format!("{name}, new fields will be added to its mapping")),
                Difference::Changed(field) => {
                    Finding::error(subject, format!("{name} has another {field} in its mapping")).with_remedy(format!(
                        "delete index {name} (it is filled anew then), or use another index_prefix"
                    ))
                }
            },
        }
    }
}
