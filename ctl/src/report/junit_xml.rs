//! JUnit's XML, in the form that Jenkins, GitLab and others read: the elements and attributes of Jenkins' `junit-10.xsd`.

use std::fmt::Write as _;

use crate::text::printable;

/// How a case ended.
pub(crate) enum Outcome {
    Passed,
    /// It did not do what was asked: of which kind, and why.
    Failed(&'static str, String),
    /// It could not be told, or was kept from going on.
    Error(&'static str, String),
    /// It never began, or was ended with the run.
    Skipped(String),
}

/// One case.
pub(crate) struct Case {
    pub(crate) class: String,
    pub(crate) name: String,
    pub(crate) seconds: Option<f64>,
    pub(crate) outcome: Outcome,
}

/// All of it.
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// ISO 8601 to the second, as servers read it.
    pub(crate) timestamp: String,
    pub(crate) hostname: String,
    pub(crate) properties: Vec<(&'static str, String)>,
    pub(crate) cases: Vec<Case>,
    /// In plain words.
    pub(crate) told: String,
}

impl Suite {
    /// The whole file.
    pub(crate) fn to_xml(&self) -> String {
        let count = |is: fn(&Outcome) -> bool| self.cases.iter().filter(|case| is(&case.outcome)).count();
        let tests = self.cases.len();
        let failures = count(|outcome| matches!(outcome, Outcome::Failed(..)));
        let errors = count(|outcome| matches!(outcome, Outcome::Error(..)));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        let seconds = format!("{:.3}", self.seconds);
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing into a string can't fail.
        let _ = writeln!(
            out,
            "<testsuites name=\"sstsctl\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds}\">"
        );
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
             time=\"{seconds}\" timestamp=\"{}\" hostname=\"{}\">",
            escaped(&self.name),
            escaped(&self.timestamp),
            escaped(&self.hostname),
        );
        out += "    <properties>\n";
        for (name, value) in &self.properties {
            let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escaped(value));
        }
        out += "    </properties>\n";
        for case in &self.cases {
            write_case(&mut out, case);
        }
        let _ = writeln!(out, "    <system-out>{}</system-out>", escaped(&self.told));
        out += "  </testsuite>\n</testsuites>\n";
        out
    }
}

fn write_case(out: &mut String, case: &Case) {
    let time = case.seconds.map(|seconds| format!(" time=\"{seconds:.3}\"")).unwrap_or_default();
    let (class, name) = (escaped(&case.class), escaped(&case.name));
    let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"{time}");
    let _ = match &case.outcome {
        Outcome::Passed => writeln!(out, "/>"),
        Outcome::Failed(kind, why) => {
            writeln!(out, ">\n      <failure type=\"{kind}\" message=\"{}\"/>\n    </testcase>", escaped(why))
        }
        Outcome::Error(kind, why) => {
            writeln!(out, ">\n      <error type=\"{kind}\" message=\"{}\"/>\n    </testcase>", escaped(why))
        }
        Outcome::Skipped(why) => {
            writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escaped(why))
        }
    };
}

/// As text or an attribute's value; what XML can't hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out += "&#9;",
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use roxmltree::{Document, Node};

    /// Of `junit-10.xsd`: what each element may hold, and its attributes, those that it must have first.
    const SCHEMA: [(&str, &[&str], &[&str], usize); 9] = [
        ("testsuites", &["testsuite"], &["name", "time", "tests", "failures", "errors"], 0),
        (
            "testsuite",
            &["testsuite", "properties", "testcase", "system-out", "system-err"],
            &["name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id"],
            4,
        ),
        ("properties", &["property"], &[], 0),
        ("property", &[], &["name", "value"], 2),
        (
            "testcase",
            &["skipped", "error", "failure", "system-out", "system-err"],
            &["name", "time", "classname", "group"],
            1,
        ),
        ("failure", &[], &["type", "message"], 0),
        ("error", &[], &["type", "message"], 0),
        ("skipped", &[], &["type", "message"], 0),
        ("system-out", &[], &[], 0),
    ];

    fn assert_valid(node: Node<'_, '_>) {
        let name = node.tag_name().name();
        let (_, children, attributes, required) =
            SCHEMA.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("<{name}>"));
        for attribute in node.attributes() {
            assert!(attributes.contains(&attribute.name()), "{} of <{name}>", attribute.name());
        }
        for attribute in &attributes[..*required] {
            assert!(node.has_attribute(*attribute), "<{name}> lacks {attribute}");
        }
        for child in node.children().filter(Node::is_element) {
            assert!(children.contains(&child.tag_name().name()), "{child:?} in <{name}>");
            assert_valid(child);
        }
    }

    /// Cases, failures, errors and skipped ones of a file that servers take.
    pub(crate) fn counted(text: &str) -> [usize; 4] {
        let document = Document::parse(text).unwrap();
        assert_valid(document.root_element());
        let of = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count();
        let counts = [of("testcase"), of("failure"), of("error"), of("skipped")];
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        let said = ["tests", "failures", "errors", "skipped"].map(|name| suite.attribute(name).unwrap());
        assert_eq!(said, counts.map(|count| count.to_string()).each_ref().map(String::as_str));
        counts
    }
}
