//! Which pipeline writes which index, so that no two write one, and no builder names an index where another pipeline's names are.
//!
//! A name may reach into another pipeline's even where the prefixes are told apart: without a prefix, index `ab-docmill-state` is
//! where a pipeline with the prefix `ab-` keeps its state. So what begins with another's prefix is refused.

use std::collections::BTreeMap;

use crate::config::{PipelineSettings, Settings};
use crate::edges::Failure;

/// See the module.
#[derive(Clone)]
pub(super) struct IndexNames {
    /// Every pipeline, with where it writes and under which prefix.
    all: Vec<(String, String, String)>,
    /// Which pipeline writes it, by place and full name of the index.
    writers: BTreeMap<(String, String), String>,
}

impl IndexNames {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut names = Self { all: Vec::new(), writers: BTreeMap::new() };
        names.expect(settings);
        names
    }

    /// These are the pipelines from now on; what they have taken they keep.
    pub(super) fn expect(&mut self, settings: &Settings) {
        let all = settings
            .pipelines
            .iter()
            .map(|pipeline| (pipeline.name.clone(), place(settings, pipeline), pipeline.index_prefix.clone()));
        self.all = all.collect();
    }

    /// What a pipeline had taken is free again.
    pub(super) fn release(&mut self, name: &str) {
        self.writers.retain(|_, writer| writer != name);
    }

    /// Takes names for a pipeline.
    ///
    /// # Errors
    ///
    /// `Fatal` for a name that another pipeline has, or that lies where another one's are.
    pub(super) fn take<'a>(
        &mut self,
        pipeline: &PipelineSettings,
        indexes: impl Iterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        let PipelineSettings { name, index_prefix, .. } = pipeline;
        let place = self.all.iter().find(|(other, ..)| other == name).map_or("", |(_, place, _)| place).to_owned();
        for index in indexes {
            let full = format!("{index_prefix}{index}");
            let inside = |prefix: &str| {
                prefix != index_prefix
                    && prefix.starts_with(index_prefix.as_str())
                    && (full.starts_with(prefix) || prefix.starts_with(&format!("{full}.")))
            };
            let others = self.all.iter().filter(|(other, at, _)| other != name && *at == place);
            if let Some((other, _, prefix)) = others.into_iter().find(|(_, _, prefix)| inside(prefix)) {
                let found = format!(
                    "pipeline {name}: its index {full} lies among the names of pipeline {other}, whose index_prefix is {prefix:?}"
                );
                return Err(Failure::fatal(found).with_advice(
                    "declare another name, or give the pipeline an `index_prefix` that no other one begins with",
                ));
            }
            if let Some(other) = self.writers.insert((place.clone(), full.clone()), name.clone()) {
                let failure = Failure::fatal(format!("pipelines {other} and {name} would both write index {full}"));
                return Err(failure.with_advice("give one of them an `index_prefix` or another sink"));
            }
        }
        Ok(())
    }
}

fn place(settings: &Settings, pipeline: &PipelineSettings) -> String {
    settings.sinks.get(&pipeline.sink).map(|sink| sink.place(&pipeline.sink)).unwrap_or_default()
}
