//! What `wit-bindgen` makes of `wit/builder.wit`; nothing else lives here, and nothing here is for authors.
#![allow(missing_docs)]

wit_bindgen::generate!({
    path: "wit",
    world: "builder",
    pub_export_macro: true,
    export_macro_name: "export_guest",
    default_bindings_module: "docmill_builder::bindings",
    runtime_path: "::docmill_builder::__runtime",
});
