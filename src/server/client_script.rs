//! The JavaScript client as one plain script, for pages without modules: it is made of the modules
//! of `htdocs/js`, so that there is one client and not two.

use std::sync::LazyLock;

/// The script. It defines the global `Faye` and nothing else.
pub(super) fn client_script() -> &'static [u8] {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| bundle(MODULES));
    SCRIPT.as_bytes()
}

macro_rules! modules {
    ($($name:literal)*) => {
        &[$(include_str!(concat!("../../htdocs/js/", $name))),*]
    };
}

/// Each before those that use it.
const MODULES: &[&str] = modules! {
    "messages.js"
    "transports.js"
    "session.js"
    "bayeux.js"
    "faye.js"
};

const BEGIN: &str = "/* The Bayeux client of this server, with the surface of Faye.Client. MIT OR \
                     Apache-2.0 */\n(() => {\n\"use strict\";\n";
const END: &str = "globalThis.Faye = Faye;\n})();\n";

/// Puts modules into one scope: without what they import of each other, and without what only
/// readers need, which is comments and indents. A line that is a part of a longer string would
/// suffer; there are none.
fn bundle(modules: &[&str]) -> String {
    let mut out = BEGIN.to_owned();
    for module in modules {
        let (mut in_comment, mut in_import) = (false, false);
        for line in module.lines().map(str::trim) {
            in_comment |= line.starts_with("/*");
            in_import |= line.starts_with("import ") || line.starts_with("export {");
            if !(in_comment || in_import || line.is_empty() || line.starts_with("//")) {
                out.push_str(line.strip_prefix("export ").unwrap_or(line));
                out.push('\n');
            }
            in_comment &= !line.ends_with("*/");
            in_import &= !line.ends_with(';');
        }
    }
    out.push_str(END);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_become_one_scope() {
        let used = "/**\n * A module.\n */\n\n/** One. */\nexport const A = 1;\n";
        let user = "import {\n  A,\n} from \"./a.js\";\nimport {B} from \"./b.js\";\n\n\
                    export {A};\n// Adds.\nexport function f() {\n  return A + 1; // 2\n}\n";
        let expected = "const A = 1;\nfunction f() {\nreturn A + 1; // 2\n}\n";
        assert_eq!(bundle(&[used, user]), format!("{BEGIN}{expected}{END}"));
    }

    #[test]
    fn the_script_has_everything_once() {
        let script = std::str::from_utf8(client_script()).unwrap();
        for module in ["import ", "export ", "from \"./"] {
            assert!(!script.contains(module), "{module}");
        }
        let comment = |line: &&str| line.starts_with("//") || line.starts_with('*');
        assert_eq!(script.lines().find(comment), None);
        for part in [
            "class Session",
            "class FayeClient",
            "class Client ",
            "class LongPolling",
        ] {
            assert_eq!(script.matches(part).count(), 1, "{part}");
        }
        // A string over several lines would lose its indents.
        let odd = |line: &&str| line.matches('`').count() % 2 == 1;
        assert_eq!(script.lines().find(odd), None);
    }
}
