//! `${NAME}` in a text is the environment's variable NAME; `$$` is one dollar sign.

/// Where variables come from.
pub type Environment<'e> = dyn Fn(&str) -> Option<String> + 'e;

/// The text with every variable in place, or everything that is wrong with it.
pub(super) fn expand(text: &str, environment: &Environment<'_>) -> Result<String, Vec<String>> {
    let mut expanded = String::with_capacity(text.len());
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            rest = after;
            match variable(name, environment) {
                Ok(value) => expanded.push_str(&value),
                Err(problem) => wrong.push(problem),
            }
        } else {
            wrong.push("a `$` must begin `${NAME}`; write `$$` for the character itself".to_owned());
        }
    }
    expanded.push_str(rest);
    if wrong.is_empty() { Ok(expanded) } else { Err(wrong) }
}

fn variable(name: &str, environment: &Environment<'_>) -> Result<String, String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !letters || name.as_bytes()[0].is_ascii_digit() {
        return Err("expected the name of an environment variable between `${` and `}`".to_owned());
    }
    match environment(name) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err(format!("the environment variable {name} is empty")),
        None => Err(format!("the environment variable {name} is not set")),
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn environment(name: &str) -> Option<String> {
        match name {
            "USER" => Some("me".to_owned()),
            "PRICE" => Some("$5 ${USER}".to_owned()),
            "NOTHING" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_put_in_once_and_two_dollars_are_one() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${USER}@${USER}", "me@me"),
            ("a$$b$${USER}", "a$b${USER}"),
            ("${PRICE}", "$5 ${USER}"),
        ] {
            assert_eq!(expand(text, &environment), Ok(expanded.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_put_in_is_said_by_name() {
        let said = expand("${NONE} ${NOTHING} $USER ${a b} ${", &environment).unwrap_err();
        assert_eq!(said.len(), 5, "{said:?}");
        assert!(said[0].contains("NONE is not set") && said[1].contains("NOTHING is empty"));
    }
}
