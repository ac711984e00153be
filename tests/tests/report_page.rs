//! The page about a run looks right in a real browser, and needs nothing but itself.

use std::{fs::File, io::BufReader, path::Path, process::Command};

use ssts_tests::{Ctl, Daemon, Ground, tools};

const WIDTH: u32 = 1_040;
const HEIGHT: u32 = 1_400;
/// Of the first and the second line of a chart: `--l0` and `--l1` of the page.
const ASKED: [u8; 3] = [0x09, 0x69, 0xda];
const ACHIEVED: [u8; 3] = [0xbc, 0x4c, 0x00];
/// Of a full core in a heat map: `.h9` of the page.
const HOTTEST: [u8; 3] = [0x7a, 0x0f, 0x24];

/// What a browser shows of a page.
struct Picture {
    pixels: Vec<u8>,
    channels: usize,
    width: usize,
}

impl Picture {
    fn of(page: &Path, home: &Path) -> Self {
        let file = home.join("page.png");
        let mut browser = Command::new("chromium");
        browser
            // A container gives it no sandbox of its own, nor /dev/shm enough.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .arg("--force-device-scale-factor=1")
            .arg(format!("--user-data-dir={}", home.join("browser").display()))
            .arg(format!("--window-size={WIDTH},{HEIGHT}"))
            .arg(format!("--screenshot={}", file.display()))
            .arg(format!("file://{}", page.display()));
        let shown = browser.output().expect("chromium can be executed");
        assert!(file.exists(), "{}", String::from_utf8_lossy(&shown.stderr));
        let decoder = png::Decoder::new(BufReader::new(File::open(&file).expect("it is there")));
        let mut reader = decoder.read_info().expect("it is a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("it is whole");
        assert_eq!((info.width, info.height), (WIDTH, HEIGHT));
        Self { pixels, channels: info.color_type.samples(), width: info.width as usize }
    }

    /// Places of the pixels of one colour.
    fn places(&self, colour: [u8; 3]) -> Vec<(usize, usize)> {
        let is_it = |(_, pixel): &(usize, &[u8])| pixel[..3] == colour;
        let all = self.pixels.chunks(self.channels).enumerate();
        all.filter(is_it).map(|(index, _)| (index % self.width, index / self.width)).collect()
    }
}

#[test]
fn loads_cores_and_marks_are_seen() {
    if !tools(&["chromium"]) {
        return;
    }
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let folder = ground.path("report");
    let words = "burn cpu --kernel fma --cores 0 --load square:0..100/1s --tolerance 100 --duration 4s";
    let command = format!("{words} --report {}", folder.display());
    Ctl::new(&ground).words(&command).run().assert_status(0);
    let page = folder.join("report.html");
    let html = std::fs::read_to_string(&page).expect("it is text");
    for loads in ["http:", "https:", "src=", "href=", "@import", "<script"] {
        assert!(!html.contains(loads), "it would load something: {loads}");
    }
    for told in ["Busy cores", "phase burn-cpu started", "Latency of run queue", "Scenario as carried out"] {
        assert!(html.contains(told), "{told}");
    }
    let picture = Picture::of(&page, &ground.path(""));
    let asked = picture.places(ASKED);
    assert!(asked.len() > 500, "a line is drawn: {} pixels", asked.len());
    // A square from 0 to 100: it is seen at both heights, and everywhere along the axis.
    let spread = |of: fn(&(usize, usize)) -> usize| {
        let values = || asked.iter().map(of);
        values().max().unwrap_or(0) - values().min().unwrap_or(0)
    };
    assert!(spread(|place| place.0) > 700 && spread(|place| place.1) > 150, "it fills its plot");
    assert!(!picture.places(ACHIEVED).is_empty(), "so is what was achieved");
    assert!(picture.places(HOTTEST).len() > 200, "a core that was burned on is hot");
    // Nothing runs over the edge of a window that is wide enough.
    let white = picture.places([255; 3]);
    let at_the_edge = white.iter().filter(|(x, _)| *x == WIDTH as usize - 1).count();
    assert_eq!(at_the_edge, HEIGHT as usize, "the right edge is empty");
}

/// The page of an older run without telemetry says so, and has all the rest.
#[test]
fn a_run_whose_telemetry_is_gone_has_a_page_without_plots() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let result =
        Ctl::new(&ground).words("burn cpu --kernel fma --cores 0 --tolerance 100 --duration 1s").json();
    let run = result["run_id"].as_str().expect("a run has one");
    let record = ground.state().join("runs").join(format!("{run}.rec"));
    let there = ssts_tests::outside::within(std::time::Duration::from_secs(10), || record.exists());
    assert!(there.is_some());
    let with_plots = Ctl::new(&ground).words(&format!("report {run} --format html")).run();
    with_plots.assert_status(0);
    assert!(with_plots.stdout.contains("<polyline"));
    std::fs::remove_file(&record).expect("it is ours");
    let without = Ctl::new(&ground).words(&format!("report {run} --format html")).run();
    without.assert_status(0);
    assert!(!without.stdout.contains("<polyline"));
    assert!(without.stdout.contains("there are no plots") && without.stdout.contains(run));
}
