//! Finds functions and their lengths in Rust text without comments and literals.

pub(crate) struct Function {
    /// The line of `fn`, from zero.
    pub(crate) first: usize,
    /// From there to the closing brace.
    pub(crate) lines: usize,
}

/// All functions with a body, nested ones too.
pub(crate) fn functions(bare: &str) -> Vec<Function> {
    let starts = bare.match_indices("fn ").filter(|(at, _)| {
        let before = bare[..*at].chars().last();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    });
    starts
        .filter_map(|(at, _)| body_end(&bare[at..]).map(|end| measure(bare, at, end)))
        .collect()
}

fn measure(bare: &str, at: usize, end: usize) -> Function {
    let first = bare[..at].matches('\n').count();
    Function {
        first,
        lines: bare[at..at + end].matches('\n').count() + 1,
    }
}

/// The end of the body of the function at the start of the text; `None` where a semicolon ends
/// the signature or it is the type of a function.
fn body_end(text: &str) -> Option<usize> {
    let mut round = 0;
    let mut square = 0;
    let mut curly = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => round += 1,
            ')' if round == 0 => return None,
            ')' => round -= 1,
            '[' => square += 1,
            ']' => square -= 1,
            ';' if curly == 0 && square == 0 => return None,
            '{' => curly += 1,
            '}' if curly == 0 => return None,
            '}' => {
                curly -= 1;
                if curly == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_measured() {
        let text = "trait T {\n fn a(x: [u8; 2]);\n fn b() {\n  if x {\n  }\n }\n}\nfn c() {}\n";
        let found: Vec<_> = functions(text).iter().map(|f| (f.first, f.lines)).collect();
        assert_eq!(found, [(2, 4), (7, 1)]);
    }
}
