//! A result as a PDF: what was found, the run's time line, and the tables, on A4 across. The font is embedded, so that it looks the
//! same everywhere and its text can be searched.

use pdf_writer::{
    Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr,
    types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap},
};
use ssts_proto::v1::{EventKind, Run};
use ttf_parser::Face;

use super::{
    document::{Block, Document, Tone},
    terminal::to_terminal,
};
use crate::error::{Exit, Failure};

/// DejaVu Sans Mono, with the characters that reports have; its licence is beside it.
const FONT: &[u8] = include_bytes!("../../fonts/DejaVuSansMono-subset.ttf");
const FONT_NAME: &[u8] = b"SSTSAA+DejaVuSansMono";
const FONT_KEY: Name<'_> = Name(b"F");
const IDENTITY: SystemInfo<'_> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// A4 across, in points, as are all lengths here.
const WIDTH: f32 = 842.0;
const HEIGHT: f32 = 595.0;
const MARGIN: f32 = 36.0;
const TEXT: f32 = 8.0;
/// A table that is wider is written smaller, down to this; beyond, its lines are broken.
const SMALLEST: f32 = 4.5;
const HEADING: f32 = 10.0;
const TITLE: f32 = 15.0;
/// Of a line, as a multiple of its letters' size.
const LEADING: f32 = 1.3;
const STRIP: f32 = 16.0;

/// Red, green and blue, 0 to 1.
type Colour = [f32; 3];
const BLACK: Colour = [0.1, 0.1, 0.12];
const GREY: Colour = [0.45, 0.45, 0.5];
const GOOD: Colour = [0.1, 0.5, 0.2];
const BAD: Colour = [0.75, 0.1, 0.1];
const CAUTION: Colour = [0.65, 0.45, 0.0];
const PHASE: Colour = [0.78, 0.85, 0.94];

/// The whole file.
pub(crate) fn to_pdf(document: &Document, run: &Run) -> Result<Vec<u8>, Failure> {
    let face = Face::parse(FONT, 0).map_err(|error| {
        Failure::new(Exit::Internal, format!("the report's font can't be read: {error}"), "")
    })?;
    let mut pages = Pages::new(&face);
    let mut is_first = true;
    for block in document.blocks() {
        let lines = text_of(block);
        match block {
            Block::Title(_, tone) => {
                pages.write(&lines, TITLE, colour(*tone));
            }
            Block::Heading(_) => {
                // The time line stands between the facts and the rest.
                if std::mem::take(&mut is_first) {
                    pages.time_line(run);
                }
                pages.leave(HEADING);
                pages.write(&lines, HEADING, BLACK);
            }
            Block::Facts(_) | Block::Table(_) | Block::Line(_) => pages.write(&lines, TEXT, BLACK),
        }
    }
    Ok(finished(&face, pages))
}

/// As a terminal has it, without empty lines.
fn text_of(block: &Block) -> Vec<String> {
    let document = Document { blocks: vec![block.clone()] };
    let text = to_terminal(&document, false);
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn colour(tone: Tone) -> Colour {
    match tone {
        Tone::Plain => BLACK,
        Tone::Good => GOOD,
        Tone::Bad => BAD,
        Tone::Caution => CAUTION,
    }
}

/// Pages that are filled from above.
struct Pages<'a> {
    face: &'a Face<'a>,
    /// Of a letter of size 1; all are as wide.
    advance: f32,
    done: Vec<Content>,
    current: Content,
    /// Where the next line's top is, from below.
    top: f32,
}

impl<'a> Pages<'a> {
    fn new(face: &'a Face<'a>) -> Self {
        let advance = face.glyph_index('0').and_then(|glyph| face.glyph_hor_advance(glyph)).unwrap_or(0);
        let advance = f32::from(advance) / f32::from(face.units_per_em());
        Self { face, advance, done: Vec::new(), current: Content::new(), top: HEIGHT - MARGIN }
    }

    fn leave(&mut self, space: f32) {
        self.top -= space;
    }

    /// A new page where so much does not fit on this one.
    fn need(&mut self, height: f32) {
        if self.top - height < MARGIN {
            self.done.push(std::mem::replace(&mut self.current, Content::new()));
            self.top = HEIGHT - MARGIN;
        }
    }

    /// Lines of one block, as large as they may be for the longest to fit.
    fn write(&mut self, lines: &[String], size: f32, colour: Colour) {
        let room = WIDTH - 2.0 * MARGIN;
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).max(1);
        let size = size.min(room / (longest as f32 * self.advance)).max(SMALLEST);
        let most = ((room / (size * self.advance)) as usize).max(1);
        for line in lines {
            let letters: Vec<_> = line.chars().collect();
            for part in letters.chunks(most) {
                self.need(size * LEADING);
                self.letters(part, MARGIN, self.top - size, size, colour);
                self.leave(size * LEADING);
            }
        }
    }

    fn letters(&mut self, letters: &[char], x: f32, y: f32, size: f32, colour: Colour) {
        let glyph = |letter: char| {
            let glyph = self.face.glyph_index(letter).or_else(|| self.face.glyph_index('\u{fffd}'));
            glyph.map_or(0, |glyph| glyph.0)
        };
        let bytes: Vec<_> = letters.iter().flat_map(|letter| glyph(*letter).to_be_bytes()).collect();
        let [red, green, blue] = colour;
        self.current.begin_text().set_fill_rgb(red, green, blue).set_font(FONT_KEY, size);
        self.current.next_line(x, y).show(Str(&bytes)).end_text();
    }

    /// The phases as a strip, with a mark for each thing that went wrong.
    fn time_line(&mut self, run: &Run) {
        let Some(summary) = run.summary.as_ref().filter(|summary| summary.duration_ns > 0) else { return };
        let room = WIDTH - 2.0 * MARGIN;
        self.leave(HEADING);
        self.need(3.0 * STRIP);
        let bottom = self.top - STRIP;
        let place = |at_unix_ns: i64| {
            let since = at_unix_ns.saturating_sub(summary.started_at_unix_ns) as f64;
            MARGIN + (since / summary.duration_ns as f64).clamp(0.0, 1.0) as f32 * room
        };
        let end_ns = summary.started_at_unix_ns.saturating_add_unsigned(summary.duration_ns);
        let mut began: Option<(i64, String)> = None;
        let mut phases = Vec::new();
        for event in &run.events {
            match event.kind() {
                EventKind::PhaseStarted => {
                    began = Some((event.at_unix_ns, event.fields.get("phase").cloned().unwrap_or_default()));
                }
                EventKind::PhaseFinished => {
                    phases.extend(began.take().map(|(from, name)| (from, event.at_unix_ns, name)));
                }
                _ => {}
            }
        }
        phases.extend(began.map(|(from, name)| (from, end_ns, name)));
        for (from, to, name) in phases {
            let (left, right) = (place(from), place(to));
            let [red, green, blue] = PHASE;
            self.current.set_fill_rgb(red, green, blue);
            self.current.rect(left, bottom, (right - left - 0.5).max(0.5), STRIP).fill_nonzero();
            let fits = ((right - left - 4.0) / (TEXT * self.advance)).max(0.0) as usize;
            let letters: Vec<_> = name.chars().take(fits).collect();
            self.letters(&letters, left + 2.0, bottom + (STRIP - TEXT) / 2.0 + 1.5, TEXT, BLACK);
        }
        let is_mark = |kind: EventKind| {
            matches!(
                kind,
                EventKind::GuardTripped
                    | EventKind::GuardWarned
                    | EventKind::LoadDerated
                    | EventKind::KernelLog
                    | EventKind::HardwareError
            )
        };
        for event in run.events.iter().filter(|event| is_mark(event.kind())) {
            let [red, green, blue] = BAD;
            self.current.set_fill_rgb(red, green, blue);
            self.current.rect(place(event.at_unix_ns), bottom - 3.0, 1.0, STRIP + 6.0).fill_nonzero();
        }
        self.leave(STRIP + 4.0);
        let end = crate::text::duration(summary.duration_ns / 1_000_000);
        let letters: Vec<_> = end.chars().collect();
        let right = WIDTH - MARGIN - letters.len() as f32 * TEXT * self.advance;
        self.letters(&['0'], MARGIN, self.top - TEXT, TEXT, GREY);
        self.letters(&letters, right, self.top - TEXT, TEXT, GREY);
        self.leave(TEXT * LEADING);
    }
}

fn finished(face: &Face<'_>, pages: Pages<'_>) -> Vec<u8> {
    let Pages { mut done, current, .. } = pages;
    done.push(current);
    let mut next = 0;
    let mut id = || {
        next += 1;
        Ref::new(next)
    };
    let (catalog, tree, info, font) = (id(), id(), id(), id());
    let ids: Vec<_> = done.iter().map(|_| (id(), id())).collect();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids(ids.iter().map(|(page, _)| *page)).count(done.len() as i32);
    pdf.document_info(info).title(TextStr("Report of a run")).producer(TextStr("sstsctl"));
    for ((page_id, content_id), content) in ids.into_iter().zip(done) {
        let mut page = pdf.page(page_id);
        page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).parent(tree).contents(content_id);
        page.resources().fonts().pair(FONT_KEY, font);
        page.finish();
        pdf.stream(content_id, &content.finish());
    }
    write_font(&mut pdf, face, font, [id(), id(), id(), id()]);
    pdf.finish()
}

/// The font as glyphs by their own number, and which letter each is.
fn write_font(pdf: &mut Pdf, face: &Face<'_>, font: Ref, [cid, descriptor, unicode, file]: [Ref; 4]) {
    let scale = 1_000.0 / f32::from(face.units_per_em());
    let of_font = |units: i16| f32::from(units) * scale;
    let advance = face.glyph_index('0').and_then(|glyph| face.glyph_hor_advance(glyph)).unwrap_or(0);
    pdf.type0_font(font)
        .base_font(Name(FONT_NAME))
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(cid)
        .to_unicode(unicode);
    let mut as_glyphs = pdf.cid_font(cid);
    as_glyphs
        .subtype(CidFontType::Type2)
        .base_font(Name(FONT_NAME))
        .system_info(IDENTITY)
        .font_descriptor(descriptor)
        // An integer by the standard: readers take another for what they have without one.
        .default_width((f32::from(advance) * scale).round())
        .cid_to_gid_map_predefined(Name(b"Identity"));
    as_glyphs.finish();
    let bounds = face.global_bounding_box();
    pdf.font_descriptor(descriptor)
        .name(Name(FONT_NAME))
        .flags(FontFlags::FIXED_PITCH | FontFlags::NON_SYMBOLIC)
        .bbox(Rect::new(
            of_font(bounds.x_min),
            of_font(bounds.y_min),
            of_font(bounds.x_max),
            of_font(bounds.y_max),
        ))
        .italic_angle(0.0)
        .ascent(of_font(face.ascender()))
        .descent(of_font(face.descender()))
        .cap_height(of_font(face.capital_height().unwrap_or_else(|| face.ascender())))
        .stem_v(80.0)
        .font_file2(file);
    let mut letters = UnicodeCmap::new(Name(b"Letters"), IDENTITY);
    let tables = face.tables().cmap.into_iter().flat_map(|cmap| cmap.subtables);
    for table in tables.filter(ttf_parser::cmap::Subtable::is_unicode).take(1) {
        table.codepoints(|codepoint| {
            if let (Some(letter), Some(glyph)) = (char::from_u32(codepoint), table.glyph_index(codepoint)) {
                letters.pair(glyph.0, letter);
            }
        });
    }
    pdf.stream(unicode, &letters.finish());
    pdf.stream(file, FONT).pair(Name(b"Length1"), FONT.len() as i32);
}

#[cfg(test)]
mod tests {
    use super::{
        super::{findings::tests as samples, run_document},
        *,
    };

    #[test]
    fn every_letter_of_a_report_has_a_glyph() {
        let face = Face::parse(FONT, 0).unwrap();
        for letter in "Az09 °µ±×–…²→▁▂▃▄▅▆▇█äöüßéñ\u{fffd}".chars() {
            assert!(face.glyph_index(letter).is_some(), "{letter}");
        }
    }

    #[test]
    fn a_long_report_has_several_pages() {
        let run = samples::over(vec![samples::missed(); 200]);
        let pdf = to_pdf(&run_document(&run, &[]), &run).unwrap();
        assert!(pdf.starts_with(b"%PDF-1."));
        let count = |what: &[u8]| pdf.windows(what.len()).filter(|window| *window == what).count();
        assert!(count(b"/Type /Page\n") >= 3, "{}", count(b"/Type /Page\n"));
        assert_eq!(count(b"/FontFile2"), 1);
    }
}
