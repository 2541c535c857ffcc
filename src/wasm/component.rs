//! A compiled component against the world of builders: imports that are allowed, exports that fit.

use std::sync::Arc;

use wasmtime::component::types::{Component as World, ComponentFunc, ComponentItem};
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::docmill::builder::types::{Affected, Outcome, Rowset};
use super::bindings::{Builder, BuilderPre};
use super::compile::compile;
use super::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::failures::Cause;
use super::host::CallState;
use super::limits::Limits;
use super::printable::printable;
use super::runtime::Runtime;
use crate::edges::Failure;

/// What a component may import.
const IMPORTS: [&str; 3] =
    ["docmill:builder/types@0.1.0", "docmill:builder/host@0.1.0", "docmill:builder/source@0.1.0"];

/// The interface that it must export.
const EXPORT: &str = "docmill:builder/guest@0.1.0";

const ANOTHER_WORLD: &str = "build it against wit/v1/builder.wit of this docmill";

/// A component that fits the world.
pub(super) struct Loaded {
    pub(super) pre: BuilderPre<CallState>,
    /// As long as somebody has it, the same bytes are not compiled again.
    pub(super) compiled: Arc<Component>,
}

/// Compiles a component and checks its world.
///
/// # Errors
///
/// `Fatal`, saying what does not fit and what to do.
pub(super) async fn load(runtime: &Runtime, what: &str, bytes: &[u8], limits: &Limits) -> Result<Loaded, Failure> {
    check_limits(runtime, what, limits)?;
    let compiled = compile(runtime, what, bytes, limits).await?;
    let component = &*compiled;
    check_imports(runtime, what, component)?;
    check_exports(runtime, what, component)?;
    let mut linker: Linker<CallState> = Linker::new(&runtime.engine);
    Builder::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
        .map_err(|error| Failure::fatal("the builders' world could not be linked").with_source(Cause::from(error)))?;
    let fits = linker.instantiate_pre(component).and_then(BuilderPre::new);
    let pre = fits.map_err(|error| {
        Failure::fatal(format!("{what}: it does not fit the world docmill:builder/builder@0.1.0"))
            .with_advice(ANOTHER_WORLD)
            .with_source(Cause::from(error))
    })?;
    Ok(Loaded { pre, compiled })
}

/// No limit of a builder can be higher than what the process set aside for each.
fn check_limits(runtime: &Runtime, what: &str, limits: &Limits) -> Result<(), Failure> {
    let most = runtime.options.memory_bytes_max;
    for (name, found, most) in [
        ("memory_bytes", limits.memory_bytes, most),
        ("json_memory_bytes", limits.json_memory_bytes, most),
        ("table_elements", limits.table_elements, TABLE_ELEMENTS_MAX),
        ("tables", limits.tables, TABLES_MAX as usize),
        ("memories", limits.memories, MEMORIES_MAX as usize),
        ("instances", limits.instances, CORE_INSTANCES_MAX as usize),
    ] {
        if found > most {
            return Err(Failure::fatal(format!(
                "{what}: its limit {name} of {found} is over what any guest of this process can have, {most}"
            ))
            .with_advice(format!("lower {name}")));
        }
    }
    Ok(())
}

fn check_imports(runtime: &Runtime, what: &str, component: &Component) -> Result<(), Failure> {
    let world = component.component_type();
    let foreign: Vec<&str> =
        world.imports(&runtime.engine).map(|(name, _)| name).filter(|name| !IMPORTS.contains(name)).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let advice = if foreign.iter().any(|name| name.starts_with("docmill:")) {
        "this docmill serves the contract 0.1.0: build it against wit/v1/builder.wit"
    } else if foreign.iter().any(|name| name.starts_with("wasi:")) {
        "build it without WASI: in Rust for wasm32-unknown-unknown, elsewhere with --stub-wasi of componentize"
    } else {
        "a builder may import the host and source of docmill:builder, nothing else"
    };
    let foreign = listed(foreign.into_iter());
    Err(Failure::fatal(format!("{what}: it imports {foreign}, which no builder is given")).with_advice(advice))
}

fn check_exports(runtime: &Runtime, what: &str, component: &Component) -> Result<(), Failure> {
    let world = component.component_type();
    let engine = &runtime.engine;
    let exported = world.get_export(engine, EXPORT);
    let Some(ComponentItem::ComponentInstance(guest)) = exported.map(|exported| exported.ty) else {
        let found = listed(world.exports(engine).map(|(name, _)| name));
        let message = format!("{what}: it is no builder: it exports {found} and not {EXPORT}");
        return Err(Failure::fatal(message).with_advice(ANOTHER_WORLD));
    };
    let mut problems = Vec::new();
    for (name, fits) in FUNCTIONS {
        let function = match guest.get_export(engine, name).map(|exported| exported.ty) {
            Some(ComponentItem::ComponentFunc(function)) => function,
            _ => {
                problems.push(format!("lacks {name}"));
                continue;
            }
        };
        if let Err(error) = fits(&function, &world) {
            let error = printable(&format!("{error:#}"), TYPE_BYTES_MAX);
            problems.push(format!("has {name} with another type: {error}"));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let message = format!("{what}: it is no builder: its {EXPORT} {}", problems.join(", "));
    Err(Failure::fatal(message).with_advice(ANOTHER_WORLD))
}

type Fits = fn(&ComponentFunc, &World) -> wasmtime::Result<()>;

/// The functions of [`EXPORT`], each with its type in the contract.
const FUNCTIONS: [(&str, Fits); 3] = [
    ("describe", |function, world| function.typecheck::<(), (Result<String, String>,)>(&world.instance_type())),
    ("resolve", |function, world| {
        function.typecheck::<(String, String, Rowset), (Result<Affected, String>,)>(&world.instance_type())
    }),
    ("assemble", |function, world| {
        type Answer = Result<Vec<Outcome>, String>;
        function.typecheck::<(String, Vec<String>, Vec<Rowset>), (Answer,)>(&world.instance_type())
    }),
];

/// Bytes of what is wrong with a type that are shown.
const TYPE_BYTES_MAX: usize = 200;

/// Names that are shown of many.
const NAMES_MAX: usize = 10;
const NAME_BYTES_MAX: usize = 100;

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| printable(name, NAME_BYTES_MAX)).collect();
    match names.len() {
        0 => "nothing".to_owned(),
        count if count > NAMES_MAX => format!("{} and {} more", names[..NAMES_MAX].join(", "), count - NAMES_MAX),
        _ => names.join(", "),
    }
}
