//! Where the fields of a tracepoint's record stand, from the text that tracefs shows as the event's `format`.

use thiserror::Error;

/// A text that can't be understood, or a record that is not what a program expects.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum FormatError {
    #[error("line {line}: `{text}` is not a field")]
    Line { line: usize, text: String },
    #[error("there is no field `{0}`")]
    NoField(String),
    #[error("field `{name}` has {size} bytes, where {expected} were expected")]
    Size { name: String, size: u32, expected: u32 },
    #[error("field `{name}` can't stand at byte {offset}: the one before it ends at {end}")]
    Place { name: String, offset: u32, end: u32 },
    #[error("the names of the bits of `{0}` are not where they should be")]
    NoFlags(String),
    #[error("the names of the values of `{0}` are not where they should be")]
    NoSymbols(String),
}

/// The record of one tracepoint.
#[derive(Debug)]
pub(super) struct Format<'a> {
    fields: Vec<Field<'a>>,
    print: &'a str,
}

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    offset: u32,
    size: u32,
}

impl<'a> Format<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, FormatError> {
        let mut format = Self { fields: Vec::new(), print: "" };
        for (index, line) in text.lines().enumerate() {
            if let Some(print) = line.strip_prefix("print fmt:") {
                format.print = print;
            } else if line.trim_start().starts_with("field:") {
                let wrong = || FormatError::Line { line: index + 1, text: line.trim().into() };
                format.fields.push(Field::parse(line.trim()).ok_or_else(wrong)?);
            }
        }
        format.is_laid_out()?;
        Ok(format)
    }

    /// A record is a struct of C: fields follow each other in their order, with no more between them than alignment takes, and
    /// none is aligned to more than its size.
    fn is_laid_out(&self) -> Result<(), FormatError> {
        let mut end = 0;
        for Field { name, offset, size } in &self.fields {
            if *offset < end || *offset >= end + (*size).max(1) {
                return Err(FormatError::Place { name: (*name).into(), offset: *offset, end });
            }
            end = offset + size;
        }
        Ok(())
    }

    /// Where the field stands, if it has `size` bytes.
    pub(super) fn offset(&self, name: &str, size: u32) -> Result<u32, FormatError> {
        let field = self.field(name)?;
        if field.size == size {
            Ok(field.offset)
        } else {
            Err(FormatError::Size { name: name.into(), size: field.size, expected: size })
        }
    }

    /// Where the field stands, if it has `size` bytes or more.
    pub(super) fn offset_of_long(&self, name: &str, size: u32) -> Result<u32, FormatError> {
        self.offset(name, size.max(self.field(name)?.size))
    }

    /// The highest bit of `name` that has a name in the text that prints the record.
    pub(super) fn highest_flag(&self, name: &str) -> Result<u32, FormatError> {
        // ... __print_flags(REC->prev_state & (...), "|", { 0x00000001, "S" }, ... { 0x00000080, "I" }) ...
        let list = self
            .print
            .split_once("__print_flags(")
            .filter(|(_, list)| list.starts_with(&format!("REC->{name}")))
            .and_then(|(_, list)| list.split_once("})"))
            .map(|(list, _)| list);
        list.into_iter()
            .flat_map(|list| list.split('{').skip(1))
            .filter_map(|flag| {
                u32::from_str_radix(flag.trim().strip_prefix("0x")?.split(',').next()?, 16).ok()
            })
            .max()
            .ok_or_else(|| FormatError::NoFlags(name.into()))
    }

    /// The values of `name` that have a name in the text that prints the record, with it.
    pub(super) fn symbols(&self, name: &str) -> Result<Vec<(u32, String)>, FormatError> {
        // ... __print_symbolic(REC->reason, { 2, "NOT_SPECIFIED" }, { 3, "NO_SOCKET" }, ...)
        let list = self.print.split_once(&format!("__print_symbolic(REC->{name},")).map(|(_, list)| list);
        let symbols: Vec<_> = list
            .into_iter()
            .flat_map(|list| list.split('{').skip(1))
            .map_while(|symbol| {
                let (value, rest) = symbol.split_once(',')?;
                let value = value.trim();
                let value = match value.strip_prefix("0x") {
                    Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                    None => value.parse().ok()?,
                };
                Some((value, rest.split('"').nth(1)?.to_owned()))
            })
            .collect();
        if symbols.is_empty() { Err(FormatError::NoSymbols(name.into())) } else { Ok(symbols) }
    }

    fn field(&self, name: &str) -> Result<&Field<'a>, FormatError> {
        self.fields.iter().find(|field| field.name == name).ok_or_else(|| FormatError::NoField(name.into()))
    }
}

impl<'a> Field<'a> {
    /// `field:char rwbs[10]; offset:34; size:10; signed:0;`, with tabs for spaces.
    fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.split(';').map(str::trim);
        let declaration = parts.next()?.strip_prefix("field:")?;
        let declaration = declaration.split_once('[').map_or(declaration, |(before, after)| {
            // Of `__data_loc char[] cmd` the name follows the brackets.
            after.split_once(']').map_or(before, |(_, name)| if name.is_empty() { before } else { name })
        });
        let name = declaration.split_whitespace().next_back()?.trim_start_matches('*');
        let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
        let size = parts.next()?.strip_prefix("size:")?.parse().ok()?;
        Some(Self { name, offset, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUE_6_1: &str = include_str!("fixtures/block_rq_issue-6.1.format");
    const ISSUE_6_18: &str = include_str!("fixtures/block_rq_issue-6.18.format");
    const SWITCH_6_18: &str = include_str!("fixtures/sched_switch-6.18.format");

    #[test]
    fn fields_stand_where_each_kernel_has_them() {
        let (old, new) = (Format::parse(ISSUE_6_1).unwrap(), Format::parse(ISSUE_6_18).unwrap());
        for (name, size, in_old, in_new) in [
            ("dev", 4, 8, 8),
            ("sector", 8, 16, 16),
            ("bytes", 4, 28, 28),
            ("comm", 16, 40, 44),
            ("cmd", 4, 56, 60),
        ] {
            assert_eq!(old.offset(name, size), Ok(in_old), "{name}");
            assert_eq!(new.offset(name, size), Ok(in_new), "{name}");
        }
        assert_eq!(old.offset_of_long("rwbs", 2), Ok(32));
        assert_eq!(new.offset_of_long("rwbs", 2), Ok(34));
        assert_eq!(old.offset("ioprio", 2), Err(FormatError::NoField("ioprio".into())));
        assert_eq!(new.offset("ioprio", 2), Ok(32));
    }

    #[test]
    fn a_field_of_another_size_is_refused() {
        let format = Format::parse(ISSUE_6_18).unwrap();
        let error = format.offset("sector", 4).unwrap_err();
        assert_eq!(error.to_string(), "field `sector` has 8 bytes, where 4 were expected");
    }

    #[test]
    fn a_field_that_stands_where_none_can_is_refused() {
        // Where it is not the field itself that can't stand there, the next one can't stand behind it.
        for (from, to, end) in
            [("offset:16", "offset:12", 20), ("offset:16", "offset:20", 12), ("offset:34", "offset:36", 46)]
        {
            let error = Format::parse(&ISSUE_6_18.replacen(from, to, 1)).unwrap_err();
            assert!(matches!(error, FormatError::Place { end: found, .. } if found == end), "{error}");
        }
    }

    #[test]
    fn the_states_of_a_task_end_below_the_bit_for_preemption() {
        let format = Format::parse(SWITCH_6_18).unwrap();
        assert_eq!(format.offset("prev_state", 8), Ok(32));
        assert_eq!(format.highest_flag("prev_state"), Ok(0x80));
        assert_eq!(format.highest_flag("next_prio"), Err(FormatError::NoFlags("next_prio".into())));
    }

    #[test]
    fn names_of_values_are_read() {
        let text = "print fmt: \"%p %s\", REC->skbaddr, __print_symbolic(REC->reason, { 2, \"NOT_SPECIFIED\" }, \
                    { 0x3, \"NO_SOCKET\" })\n";
        let format = Format::parse(text).unwrap();
        let expected = [(2, "NOT_SPECIFIED".to_owned()), (3, "NO_SOCKET".to_owned())];
        assert_eq!(format.symbols("reason").as_deref(), Ok(&expected[..]));
        assert_eq!(format.symbols("skbaddr"), Err(FormatError::NoSymbols("skbaddr".into())));
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = Format::parse("name: x\n\tfield:int a;\toffset:eight;\tsize:4;\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: `field:int a;\toffset:eight;\tsize:4;` is not a field");
    }
}
