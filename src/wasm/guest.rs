//! A component with all that its calls have in common: what `describe`, `resolve` and `assemble` are called on.

use std::sync::Arc;

use super::bindings::BuilderPre;
use super::call::{Answer, Call, Export};
use super::guest_log::{GuestLog, LogRate};
use super::host::CallState;
use super::lane::LongOnes;
use super::limiter::Limiter;
use super::limits::Limits;
use super::limits_met::LimitsMet;
use super::reading::Reading;
use super::runtime::Runtime;
use crate::edges::{Failure, Tenant};

/// A component, its configuration and its limits.
pub(super) struct Guest {
    runtime: Arc<Runtime>,
    pre: BuilderPre<CallState>,
    pipeline: Arc<str>,
    config: Arc<str>,
    limits: Arc<Limits>,
    log_rate: Arc<LogRate>,
    places: Places,
    met: Arc<LimitsMet>,
}

/// The pipeline's share of what all pipelines' guests have together.
pub(super) struct Places {
    pub(super) slots: Tenant,
    pub(super) long_slots: Tenant,
    pub(super) long_ones: LongOnes,
}

impl Guest {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        pre: BuilderPre<CallState>,
        pipeline: &str,
        config: Arc<str>,
        limits: Limits,
    ) -> Self {
        let places = Places {
            slots: runtime.slots.tenant(pipeline),
            long_slots: runtime.long_slots.tenant(pipeline),
            long_ones: LongOnes::default(),
        };
        Self {
            places,
            runtime,
            pre,
            pipeline: pipeline.into(),
            config,
            limits: Arc::new(limits),
            log_rate: Arc::new(LogRate::new()),
            met: Arc::default(),
        }
    }

    pub(super) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(super) fn met(&self) -> &Arc<LimitsMet> {
        &self.met
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Calls an export and checks what it answered; `what` names it in errors, `json` says whether it has the memory of guests that
    /// take JSON.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        what: &Arc<str>,
        export: Export,
        reading: Option<Reading>,
        json: bool,
        check: impl FnOnce(Answer) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (rate, met) = (Arc::clone(&self.log_rate), Arc::clone(&self.met));
        let log = GuestLog::new(Arc::clone(&self.pipeline), rate, met, &self.limits);
        let state = CallState {
            what: Arc::clone(what),
            config: Arc::clone(&self.config),
            limits: Arc::clone(&self.limits),
            limiter: Limiter::new(&self.limits, json),
            log,
            reading,
            ended: None,
        };
        let call = Call { pre: self.pre.clone(), state, export };
        call.run(&self.runtime, &self.places, check).await
    }
}
