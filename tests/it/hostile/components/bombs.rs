//! Components that are small to write down and large to read or compile, byte by byte.

/// An unsigned number in LEB128.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &number(content.len())[..], content].concat()
}

/// A component that holds one core module.
pub fn component_of(module: &[u8]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0", &section(1, module)[..]].concat()
}

/// A core module of functions `(func (param i32) (result i32) (local i32 …))`, each with that many locals and that body.
fn module(functions: usize, locals: usize, body: &[u8]) -> Vec<u8> {
    let types = section(1, b"\x01\x60\x01\x7f\x01\x7f");
    let declared = section(3, &[number(functions), vec![0; functions]].concat());
    let code = [&[1], &number(locals)[..], &[0x7f], body, &[0x0b]].concat();
    let one = [number(code.len()), code].concat();
    let bodies = section(10, &[number(functions), one.repeat(functions)].concat());
    [b"\0asm\x01\0\0\0", &types[..], &declared, &bodies].concat()
}

/// As many functions, none of which does anything.
pub fn functions(count: usize) -> Vec<u8> {
    component_of(&module(count, 1, b"\x20\x00"))
}

/// Functions of loops, each of which changes every local: what a compiler has to keep apart grows with the product.
pub fn loops(functions: usize, loops: usize, locals: usize) -> Vec<u8> {
    let mut one = vec![0x03, 0x40];
    for local in 1..locals {
        // local = local + the one before it
        let (this, before) = (number(local), number(local - 1));
        one.extend([&[0x20], &this[..], &[0x20], &before, &[0x6a, 0x21], &this].concat());
    }
    // Again if the last is not zero.
    one.extend([&[0x20], &number(locals - 1)[..], &[0x0d, 0x00, 0x0b]].concat());
    let body = [&one.repeat(loops)[..], b"\x20\x01"].concat();
    component_of(&module(functions, locals, &body))
}

/// A component whose types are lists of lists of …
pub fn nested_types(depth: usize) -> Vec<u8> {
    // u8, then each a list of the one before.
    let mut types = vec![0x7d];
    for inner in 0..depth {
        types.extend([&[0x70], &number(inner)[..]].concat());
    }
    [b"\0asm\x0d\0\x01\0", &section(7, &[number(depth + 1), types].concat())[..]].concat()
}

/// Components in components in …
pub fn nested_components(depth: usize) -> Vec<u8> {
    let mut inner = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..depth {
        inner = [b"\0asm\x0d\0\x01\0", &section(4, &inner)[..]].concat();
    }
    inner
}

/// Each type a tuple that holds the one before twice: 2^depth values when written out.
pub fn doubled_types(depth: usize) -> Vec<u8> {
    let mut types = vec![0x7d];
    for inner in 0..depth {
        types.extend([&[0x6f, 0x02], &number(inner)[..], &number(inner)].concat());
    }
    [b"\0asm\x0d\0\x01\0", &section(7, &[number(depth + 1), types].concat())[..]].concat()
}
