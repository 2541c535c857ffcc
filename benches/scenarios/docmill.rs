//! docmill as an operator runs it: the released binary, the shop's component, the index `users`.

use async_trait::async_trait;

use crate::ground::Place;
use crate::support::command::{Docmill, Shop};
use crate::system::Running;

struct Started {
    docmill: Docmill,
    /// Its configuration goes with it: what must stay is in the sink and the slot.
    _shop: Shop,
}

/// The variable that names another build, to be measured beside the released one in the same run.
pub const BEFORE: &str = "DOCMILL_BIN_BEFORE";

pub fn start(place: &Place, before: bool) -> Box<dyn Running> {
    let config = format!("late_window = \"2m\"\nconfig = {{ indexes = [\"{}\"] }}", place.index);
    let shop = Shop::new(&place.database, &place.search, &config);
    let docmill = match std::env::var_os(BEFORE).filter(|_| before) {
        Some(program) => shop.run_program(program.as_ref(), ""),
        None => shop.run(),
    };
    Box::new(Started { docmill, _shop: shop })
}

#[async_trait]
impl Running for Started {
    fn pids(&self) -> Vec<u32> {
        vec![self.docmill.pid()]
    }

    fn must_run(&self) {
        assert!(self.docmill.is_running(), "docmill ended: {}", self.docmill.log());
    }

    async fn end(self: Box<Self>, _: &Place) {
        assert!(self.docmill.terminate().success(), "it ends when told to");
    }
}
