//! The generated types of `wit/v1`. They do not leave this module's folder.

wasmtime::component::bindgen!({
    path: "wit/v1",
    world: "docmill:builder/builder",
    imports: {
        "docmill:builder/source.run": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
