//! The report as a page: that nothing of an image acts in it, and, in a browser where there is one, that it is searched
//! and walked through.

pub mod browser;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lith::diff::content::{Input, Limits, compare};
use lith::diff::report::{
    Entry, EntryChange, Field, ImageFacts, Images, LayerChange, LayerFacts, LayerRow, Level, Node, NodeKind,
    PlaceKind, Side,
};
use lith::diff::{Kind, REPORT_VERSION, Report, html};

use browser::Browser;

const HOSTILE: &str =
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";

fn node(size: u64, minute: usize) -> Node {
    Node {
        kind: NodeKind::File,
        mode: "0644".to_owned(),
        uid: 0,
        gid: 0,
        mtime: format!("2026-11-30T10:{minute:02}:08Z"),
        size: Some(size),
        content: Some("ab".repeat(32)),
        target: None,
        layer: 2,
    }
}

fn entry(path: String, change: EntryChange) -> Entry {
    let changed = change == EntryChange::Changed;
    let field = Field {
        level: Level::Entry,
        kind: Kind::Mtime,
        name: "mtime".to_owned(),
        a: node(0, 1).mtime.into(),
        b: node(0, 2).mtime.into(),
    };
    Entry {
        path,
        change,
        a: (change != EntryChange::Added).then(|| node(1000, 1)),
        b: (change != EntryChange::Removed).then(|| node(1234, 2)),
        fields: if changed { vec![field] } else { Vec::new() },
        content: None,
        hidden_in: None,
    }
}

/// Of that many entries, in directories of fifty; each twentieth has a content.
fn report(entries: usize) -> Report {
    let input = |text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Input { file, size: text.len() as u64 }
    };
    let (a, b) = (format!("{HOSTILE} 2026-11-30\n"), format!("{HOSTILE} 2026-12-01\n"));
    let content = compare("x", input(&a), input(&b), &Limits::default()).unwrap();
    let entries = (0..entries).map(|i| {
        let change = [EntryChange::Changed, EntryChange::Added, EntryChange::Removed][i % 3];
        let mut entry = entry(format!("/usr/dir-{:04}/file-{i:05}", i / 50), change);
        entry.content = (i % 30 == 0).then(|| content.clone());
        entry
    });
    // A directory of some that differs itself, and the root.
    let own = ["/usr/dir-0003", "/"].map(|path| entry(path.to_owned(), EntryChange::Changed));
    let hostile = Entry {
        hidden_in: Some(0),
        ..entry(format!("/{}", HOSTILE.replace('/', "\u{2215}")), EntryChange::Added)
    };
    let side = |name: &str| Side { name: name.to_owned(), place: PlaceKind::Directory, digest: None };
    let layer = LayerFacts {
        number: 1,
        diff_id: None,
        digest: None,
        size: Some(12),
        media_type: None,
        created_by: Some(HOSTILE.to_owned()),
    };
    let facts = ImageFacts { manifest: None, config: None, layers: 1, size: None };
    Report {
        version: REPORT_VERSION,
        a: side(HOSTILE),
        b: side("b\u{2028}&amp;'\""),
        differs: true,
        cause: None,
        index: Vec::new(),
        images: vec![Images {
            platform: None,
            a: Some(facts.clone()),
            b: Some(facts),
            fields: Vec::new(),
            layers: vec![LayerRow {
                change: LayerChange::Changed,
                a: vec![layer.clone()],
                b: vec![layer],
                differences: 1,
            }],
            entries: entries.chain([hostile]).chain(own).collect(),
            unread: 0,
        }],
        ignored: BTreeMap::new(),
        warnings: vec![HOSTILE.to_owned()],
    }
}

/// What parses HTML sees the elements of the page alone, whatever the report holds; and the report is still all there.
#[test]
fn what_an_image_holds_is_no_markup() {
    let report = report(60);
    let page = html::render(&report);
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<img"));
    let begin = "<script type=\"application/json\" id=\"report\">";
    let (_, rest) = page.split_once(begin).unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    assert!(!json.contains(['<', '>', '&', '\u{2028}']));
    assert_eq!(serde_json::from_str::<Report>(json).unwrap(), report);
}

/// Names of the template in a report stand for themselves.
#[test]
fn names_of_the_template_are_not_replaced_twice() {
    let mut report = report(1);
    report.a.name = "@SCRIPT@ @REPORT@ @STYLE_HASH@".to_owned();
    let page = html::render(&report);
    assert!(page.contains("<title>@SCRIPT@ @REPORT@ @STYLE_HASH@ → "), "{}", &page[..1500]);
}

/// The page loads nothing, and its policy would refuse to: its own script and style are named by their digests.
#[test]
fn the_page_needs_nothing_else() {
    let page = html::render(&report(1));
    let policy = "default-src 'none'; script-src 'sha256-";
    assert!(page.contains(policy));
    for word in ["http://", "https://", "src=\"", "href=", "@import", "url(", "innerHTML", "eval("] {
        let found = page.replace(HOSTILE, "");
        assert!(!found.contains(word), "{word}");
    }
}

fn written(dir: &Path, entries: usize) -> String {
    let path: PathBuf = dir.join(format!("{entries}.html"));
    std::fs::write(&path, html::render(&report(entries))).unwrap();
    format!("file://{}", path.display())
}

#[test]
fn a_browser_shows_searches_and_walks() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut browser) = Browser::start(dir.path()) else { return };
    let page = written(dir.path(), 1000);
    browser.open(&page);
    assert_eq!(browser.text("#shown"), "1,003 paths");
    assert_eq!(browser.value("document.title.startsWith('</script>')"), true, "the title is text");
    assert_eq!(
        browser.value("document.images.length + document.scripts.length"),
        2,
        "no markup came of names"
    );
    // The search narrows the tree and opens it; Enter goes to the first path.
    browser.keys(&["/", "0", "0", "4", "2"]);
    browser.until("document.getElementById('shown').textContent", "11 paths of 1,003");
    browser.keys(&["Enter"]);
    assert_eq!(browser.text(".row.selected .name"), "file-00042");
    assert_eq!(browser.text("#detail h2"), "/usr/dir-0000/file-00042");
    browser.keys(&["n"]);
    assert_eq!(browser.text(".row.selected .name"), "file-00420");
    browser.keys(&["k"]);
    assert_eq!(browser.text(".row.selected .name"), "dir-0008/");
    browser.keys(&["h"]);
    assert_eq!(
        browser.value("document.querySelector('.row.selected').getAttribute('aria-expanded')"),
        "false"
    );
    // Without the search what was selected stays in sight.
    browser.keys(&["Escape"]);
    assert_eq!(browser.text("#shown"), "1,003 paths");
    assert_eq!(browser.text(".row.selected .name"), "dir-0008/");
    // A filter by a class leaves those files alone, whose contents are text however they look.
    browser.value("document.querySelector('.chip[data-name=timestamp]').click()");
    assert_eq!(browser.text("#shown"), "34 paths of 1,003");
    browser.keys(&["g", "n"]);
    assert_eq!(browser.text(".row.selected .name"), "file-00000");
    assert_eq!(browser.text("#detail table.text td.a mark"), "11");
    assert!(browser.text("#detail table.text td.a").starts_with("</script>"));
    // A directory that differs and is not found is passed over on the way to what is.
    browser.keys(&["Escape", "Escape", "/", "f", "i", "l", "e", "-", "0", "0", "1", "5", "0"]);
    browser.until("document.getElementById('shown').textContent", "1 path of 1,003");
    browser.keys(&["Enter"]);
    assert_eq!(browser.text(".row.selected .name"), "file-00150");
    // The root itself is a row like any other.
    browser.keys(&["Escape", "G"]);
    assert_eq!(browser.text(".row.selected .name"), "/");
    assert_eq!(browser.text("#detail h2"), "/");
    browser.value("document.querySelector('.chip[data-name=timestamp]').click()");
    browser.keys(&["g", "n"]);
    // Help, and the other theme.
    browser.keys(&["?"]);
    assert_eq!(browser.value("document.getElementById('keys').open"), true);
    browser.keys(&["Escape", "t"]);
    assert_eq!(browser.value("document.getElementById('keys').open"), false);
    let theme = browser.value("document.documentElement.dataset.theme");
    assert!(theme == "dark" || theme == "light", "{theme}");
    // The address leads back to all of that.
    let link = browser.value("location.href");
    browser.open("about:blank");
    browser.open(link.as_str().unwrap());
    assert_eq!(browser.text("#shown"), "34 paths of 1,003");
    assert_eq!(browser.text(".row.selected .name"), "file-00000");
    assert_eq!(browser.value("document.documentElement.dataset.theme"), theme);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Fifty thousand paths are shown by a few rows, and no key waits long. The bounds are far above what is usual, so that
/// a busy machine does not fail; without the virtual list each is missed by far.
#[test]
fn a_browser_does_not_freeze_at_fifty_thousand() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut browser) = Browser::start(dir.path()) else { return };
    let page = written(dir.path(), 50_000);
    let started = Instant::now();
    browser.open(&page);
    assert_eq!(browser.text("#shown"), "50,003 paths");
    let shown = started.elapsed();
    browser.keys(&["/", "f", "i", "l", "e"]);
    browser.until("document.getElementById('shown').textContent", "50,000 paths of 50,003");
    browser.keys(&["Enter"]);
    let started = Instant::now();
    browser.keys(&["n"; 100]);
    let walked = started.elapsed();
    assert_eq!(browser.text(".row.selected .name"), "file-00100");
    let rows = browser.value("document.querySelectorAll('.row').length");
    assert!(rows.as_u64().unwrap() < 200, "{rows} rows");
    eprintln!("50,000 paths: shown after {shown:?}, 100 keys in {walked:?}");
    assert!(shown < Duration::from_secs(90) && walked < Duration::from_secs(90), "{shown:?} {walked:?}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
