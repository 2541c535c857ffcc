//! Names in the search engine: which are ours, which may be asked for, and through which documents are written. Plain
//! functions.

use crate::edges::Failure;
use crate::model::IndexDeclaration;

/// Characters of a declared index's name.
const NAME_MAX: usize = 100;

/// Characters of a prefix: with a name and a generation's ending it stays below the engine's 255 bytes.
const PREFIX_MAX: usize = 100;

/// The alias that every write to an index of ours goes through.
///
/// A search engine makes a missing index from the first document or deletion that names it, with a mapping of its own guess: an
/// index that was deleted under us would come back, half filled and unnoticed. An alias it cannot make; and since a
/// capital letter is allowed in the name of an alias and not of an index, it can make no index of that name either
/// (shown on 2.19 and 3.8; `require_alias` alone does not hold for deletions).
pub(super) fn write_alias(index: &str) -> String {
    format!("{index}.Write")
}

/// The name of an index's first generation: `<alias>.<8 hexadecimal digits>-1`.
pub(super) fn first_generation(alias: &str, hash: &[u8]) -> String {
    let digits: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{alias}.{digits}-1")
}

/// Whether an index's name is that of a generation behind this alias.
pub(super) fn is_generation(name: &str, alias: &str) -> bool {
    let parts = name.strip_prefix(alias).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(hash, number)| {
        hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && number.parse::<u32>().is_ok()
    })
}

/// Refuses a prefix that no index may begin with.
pub(super) fn check_prefix(prefix: &str) -> Result<(), Failure> {
    let begins_well = prefix.is_empty() || prefix.starts_with(|first: char| lower_or_digit(first));
    let letters = prefix.chars().all(|letter| lower_or_digit(letter) || matches!(letter, '-' | '_' | '.'));
    if begins_well && letters && prefix.len() <= PREFIX_MAX {
        return Ok(());
    }
    Err(Failure::fatal(format!("index_prefix {prefix:?} cannot begin the name of an index"))
        .with_advice(format!("use at most {PREFIX_MAX} of a-z, 0-9, - and _, the first of them a letter or a digit")))
}

/// Refuses names that are not `[a-z0-9][a-z0-9_-]*`, that are ours, or that are declared twice: what is no plain name could
/// reach indexes of others (`_all`, `a,b`, `*`).
pub(super) fn check_names(indexes: &[IndexDeclaration]) -> Result<(), Failure> {
    for (place, index) in indexes.iter().enumerate() {
        let name = &index.name;
        let begins_well = name.starts_with(lower_or_digit);
        let letters = name.chars().all(|letter| lower_or_digit(letter) || matches!(letter, '-' | '_'));
        let advice = "mend the builder's descriptor";
        if !begins_well || !letters || name.len() > NAME_MAX {
            return Err(Failure::fatal(format!(
                "index {name:?}: its name is not [a-z0-9][a-z0-9_-]* of at most {NAME_MAX} characters"
            ))
            .with_advice(advice));
        }
        if name.starts_with("docmill") {
            return Err(Failure::fatal(format!("index {name}: names that begin with docmill are docmill's own"))
                .with_advice(advice));
        }
        if indexes[..place].iter().any(|other| other.name == *name) {
            return Err(Failure::fatal(format!("index {name} is declared twice")).with_advice(advice));
        }
    }
    Ok(())
}

fn lower_or_digit(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(name: &str) -> IndexDeclaration {
        IndexDeclaration {
            name: name.into(),
            mapping: json!({}),
            settings: None,
            tables: vec![],
            reads: vec![],
            routing: None,
        }
    }

    #[test]
    fn a_name_cannot_reach_another_index() {
        for bad in ["", "_all", "a,b", "*", "a*", "..", "a/b", "A", "-a", "a.b", "docmill-state", &"a".repeat(101)] {
            assert!(check_names(&[named(bad)]).is_err(), "{bad}");
        }
        assert!(check_names(&[named("users"), named("users")]).is_err());
        assert!(check_names(&[named("users"), named("order_lines-2")]).is_ok());
        for bad in ["_x", "*", "a,", "-", "A"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
        assert!(check_prefix("").is_ok() && check_prefix("shop-").is_ok());
    }

    #[test]
    fn a_generation_is_told_from_its_neighbours() {
        let name = first_generation("users", &[0xab, 0xcd, 0xef, 0x01, 0x99]);
        assert_eq!(name, "users.abcdef01-1");
        assert!(is_generation(&name, "users"));
        for other in ["users", "users-2", "users2.abcdef01-1", "users.abcdef0-1", "users.abcdef01-x", "users.abcdef01"]
        {
            assert!(!is_generation(other, "users"), "{other}");
        }
    }
}
