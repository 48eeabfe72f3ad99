//! Ranges that providers publish, from files, from a ConfigMap and from URLs.
//!
//! A list that cannot be read, or that would let in nobody or everybody, is unknown and not empty: what stood in its
//! place before stays, and ages. A list that is taken away is gone.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::ip_allow::{ProviderRanges, ProviderRangesSpec, compile_ranges};
use policy::names::{Kind, ObjectRef};
use policy::problem::{Problem, Problems};

use super::files::Files;
use super::place::{FileProblem, Place, Text};
use super::yaml::{self, Document};

/// The largest list that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// The most lists.
const MAX_LISTS: usize = 64;
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where lists come from; all may be said.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// A file, or a directory of `*.yaml`, `*.yml` and `*.json`.
    pub path: Option<PathBuf>,
    /// A ConfigMap: each of its keys is a file. It is named and not selected by a label, so that nobody who may
    /// write ConfigMaps somewhere else decides for all.
    pub config_map: Option<ObjectRef>,
    /// What was fetched last, by its URL; or why nothing was ever fetched. This module reads, and fetches nothing.
    pub fetched: BTreeMap<String, Result<String, String>>,
}

/// What could last be read, by where it stood: the path of a file, the key of the ConfigMap, or the URL.
#[derive(Clone, Debug, Default)]
pub struct Lists(BTreeMap<String, Vec<Arc<ProviderRanges>>>);

impl Lists {
    /// Reads all lists and puts them into what compile reads; what is wrong is told among the problems of the files.
    /// `now_secs` is the time since the epoch.
    #[must_use]
    pub fn read(places: &Places, now_secs: i64, previous: &Self, files: &mut Files) -> Self {
        let mut reading = Reading { now_secs, previous, lists: Self::default(), files };
        if let Some(path) = &places.path {
            reading.path(path);
        }
        if let Some(object) = &places.config_map {
            reading.config_map(object);
        }
        for (url, text) in &places.fetched {
            reading.text(PathBuf::from(url), text.clone());
        }
        reading.install()
    }
}

/// A text with its documents read as far as they are lists.
struct Read {
    lists: Vec<Arc<ProviderRanges>>,
    /// By document, with the field in it.
    problems: Vec<(Option<Document>, Problem)>,
}

struct Reading<'a> {
    now_secs: i64,
    previous: &'a Lists,
    lists: Lists,
    files: &'a mut Files,
}

impl Reading<'_> {
    fn path(&mut self, path: &Path) {
        match found(path) {
            Ok(paths) => {
                for path in paths {
                    let text = bounded(&path);
                    self.text(path, text);
                }
            }
            Err(message) => {
                let known = self.previous.0.iter().filter(|(place, _)| Path::new(place).starts_with(path));
                self.lists.0.extend(known.map(|(place, lists)| (place.clone(), lists.clone())));
                self.file_problem(Place::whole(path.to_owned()), message, "provide it: what was read before stays");
            }
        }
    }

    fn text(&mut self, path: PathBuf, text: Result<String, String>) {
        let place = path.display().to_string();
        let text = match text {
            Ok(text) => Arc::new(Text { path, text }),
            Err(message) => {
                self.keep(place);
                return self.file_problem(Place::whole(path), message, "make it a readable list: its last good stays");
            }
        };
        let object = ObjectRef::new(Kind::ConfigMap, "", place.as_str());
        let read = read(&text.text, &object, self.now_secs);
        for (document, problem) in &read.problems {
            let place = match document {
                Some(document) => Place::of(&text, document, &problem.field),
                None => Place::whole(text.path.clone()),
            };
            let message = format!("{} {}", problem.field, problem.message).trim_start().to_owned();
            self.file_problem(place, message, &problem.help);
        }
        self.accept(place, read);
    }

    fn config_map(&mut self, object: &ObjectRef) {
        let Some(map) = self.files.gathered.config_maps.get(object) else {
            let mut problems = Problems::of(object, self.files.gathered.problems.entry(object.clone()).or_default());
            return problems.unresolved("does not exist, so it provides no ranges", "create it, or name another");
        };
        for (key, text) in map.data.clone() {
            let read = read(&text, object, self.now_secs);
            for (_, problem) in &read.problems {
                let mut problems =
                    Problems::of(object, self.files.gathered.problems.entry(object.clone()).or_default());
                let message = format!("{} {}", problem.field, problem.message).trim_start().to_owned();
                problems.at("data").at(&key).invalid(message, problem.help.clone());
            }
            self.accept(format!("{object}: {key}"), read);
        }
    }

    fn file_problem(&mut self, place: Place, message: String, help: &str) {
        self.files.problems.push(FileProblem::new(place, message, help));
    }

    fn accept(&mut self, place: String, read: Read) {
        if read.problems.is_empty() {
            self.lists.0.insert(place, read.lists);
        } else {
            self.keep(place);
        }
    }

    fn keep(&mut self, place: String) {
        if let Some(before) = self.previous.0.get(&place) {
            self.lists.0.insert(place, before.clone());
        }
    }

    /// Of two lists of one provider the later one counts.
    fn install(self) -> Lists {
        let Self { lists, files, .. } = self;
        let installed = &mut files.gathered.installation.provider_ranges;
        for list in lists.0.values().flatten().take(MAX_LISTS) {
            let known = installed.entry(Arc::clone(&list.provider)).or_insert_with(|| Arc::clone(list));
            if known.date_secs < list.date_secs {
                *known = Arc::clone(list);
            }
        }
        lists
    }
}

/// The files of a place, in order.
fn found(path: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("cannot be listed: {error}");
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !hidden && ENDINGS.contains(&ending) {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.len() > MAX_LISTS {
        return Err(format!("holds more than {MAX_LISTS} lists"));
    }
    Ok(paths)
}

fn bounded(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > MAX_BYTES { Err(format!("is larger than {MAX_BYTES} bytes")) } else { Ok(text) }
}

/// All lists of a text; `object` only carries the problems.
fn read(text: &str, object: &ObjectRef, now_secs: i64) -> Read {
    let mut read = Read { lists: Vec::new(), problems: Vec::new() };
    let mut whole = |message: &str| {
        let mut found = Vec::new();
        Problems::of(object, &mut found).invalid(message, "write version, provider, source, date and ranges");
        read.problems.extend(found.into_iter().map(|problem| (None, problem)));
    };
    let documents = match yaml::documents(text) {
        Ok(documents) if documents.is_empty() => {
            whole("is empty");
            return read;
        }
        Ok(documents) => documents,
        Err(error) => {
            whole(&format!("is no YAML: {error}"));
            return read;
        }
    };
    for document in documents {
        let mut found = Vec::new();
        let mut problems = Problems::of(object, &mut found);
        for fault in &document.faults {
            problems.at(&fault.field).invalid(fault.message.clone(), fault.help);
        }
        match serde_path_to_error::deserialize::<_, ProviderRangesSpec>(&document.value) {
            Ok(spec) => read.lists.extend(compile_ranges(&spec, now_secs, problems).map(Arc::new)),
            Err(error) => {
                let path = error.path().to_string();
                let field = if path == "." { String::new() } else { path };
                problems.at(field).invalid(error.inner().to_string(), "correct the field that it names");
            }
        }
        read.problems.extend(found.into_iter().map(|problem| (Some(document.clone()), problem)));
    }
    read
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn list(provider: &str, ranges: &str) -> String {
        format!("version: 1\nprovider: {provider}\nsource: a test\ndate: 2026-11-20\nranges: {ranges}\n")
    }

    /// What compile would see, and what is told.
    fn read_all(places: &Places, previous: &Lists, map: Option<&str>) -> (Lists, Vec<String>, Vec<String>) {
        let mut files = Files::default();
        if let (Some(object), Some(text)) = (&places.config_map, map) {
            let meta = super::super::Meta {
                object: object.clone(),
                uid: "1".into(),
                created_secs: 0,
                generation: None,
                labels: BTreeMap::new(),
            };
            let data = [("list".to_owned(), text.into())].into_iter().collect();
            files.gathered.config_maps.insert(object.clone(), super::super::core::ConfigMap { meta, data });
        }
        let lists = Lists::read(places, NOW, previous, &mut files);
        let told = files.problems.iter().map(|problem| format!("{}: {}", problem.place.line, problem.message));
        let told = told.chain(
            files.gathered.problems.values().flatten().map(|problem| format!("{}: {}", problem.field, problem.message)),
        );
        let told = told.collect();
        let ranges = files.gathered.installation.provider_ranges.values();
        let ranges = ranges.map(|list| format!("{} {:?}", list.provider, list.ranges)).collect();
        (lists, ranges, told)
    }

    #[test]
    fn a_list_that_is_bad_leaves_its_last_good_and_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let places = Places { path: Some(folder.path().to_owned()), ..Places::default() };
        write("meta.yaml", &list("Meta", "[192.0.2.0/24]"));
        write(
            "other.json",
            r#"{"version": 1, "provider": "Other", "source": "x", "date": "2026-11-20T10:00:00Z", "ranges": ["203.0.113.0/24"]}"#,
        );
        write("notes.txt", "not a list");
        let (first, ranges, told) = read_all(&places, &Lists::default(), None);
        assert_eq!(ranges, ["Meta [192.0.2.0/24]", "Other [203.0.113.0/24]"]);
        assert_eq!(told, [""; 0]);
        for (bad, word) in [
            (list("Meta", "[]"), "5: ranges is empty"),
            (list("Meta", "[0.0.0.0/0]"), "5: ranges holds 0.0.0.0/0"),
            (list("Meta", "[192.0.2.0/24").replace("provider", "vendor"), "1: is no YAML"),
            (list("Meta", "[192.0.2.0/24]").replace("provider", "vendor"), "unknown field `vendor`"),
            (String::new(), "1: is empty"),
            (format!("# {}\n{}", "x".repeat(1 << 20), list("Meta", "[192.0.2.0/24]")), "1: is larger"),
        ] {
            write("meta.yaml", &bad);
            let (_, ranges, told) = read_all(&places, &first, None);
            assert_eq!(ranges, ["Meta [192.0.2.0/24]", "Other [203.0.113.0/24]"], "{word}");
            assert!(told.len() == 1 && told[0].contains(word), "{word}: {told:?}");
            let (_, ranges, _) = read_all(&places, &Lists::default(), None);
            assert_eq!(ranges, ["Other [203.0.113.0/24]"], "without a last good there is none");
        }
        fs::remove_file(folder.path().join("meta.yaml")).unwrap();
        assert_eq!(read_all(&places, &first, None).1, ["Other [203.0.113.0/24]"], "taken away is gone");
        folder.close().unwrap();
        let (_, ranges, told) = read_all(&places, &first, None);
        assert_eq!((ranges.len(), told.len()), (2, 1), "unreadable is unknown: {told:?}");
    }

    #[test]
    fn a_config_map_provides_lists_and_the_later_of_two_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meta.yaml");
        fs::write(&file, list("Meta", "[192.0.2.0/24]")).unwrap();
        let config_map = Some(ObjectRef::new(Kind::ConfigMap, "postern-system", "ranges"));
        let places = Places { path: Some(file), config_map, ..Places::default() };
        let newer = list("Meta", "[203.0.113.0/24]").replace("11-20", "11-21");
        let (first, ranges, told) = read_all(&places, &Lists::default(), Some(&newer));
        assert_eq!((ranges, told), (vec!["Meta [203.0.113.0/24]".to_owned()], vec![]));
        let (_, ranges, told) = read_all(&places, &first, Some(&list("Meta", "[::/0]")));
        assert_eq!(ranges, ["Meta [203.0.113.0/24]"]);
        assert!(told[0].starts_with("data.list: ranges holds ::/0"), "{told:?}");
        let (_, ranges, told) = read_all(&places, &first, None);
        assert_eq!(ranges, ["Meta [192.0.2.0/24]"]);
        assert!(told[0].contains("does not exist"), "{told:?}");
    }

    #[test]
    fn an_url_provides_a_list_and_what_it_gives_later_never_widens_nor_empties_it() {
        let url = "https://lists.example/meta.yaml";
        let at = |text: Result<&str, &str>| Places {
            fetched: [(url.to_owned(), text.map(str::to_owned).map_err(str::to_owned))].into(),
            ..Places::default()
        };
        let (none, ranges, told) = read_all(&at(Err("could not connect")), &Lists::default(), None);
        assert_eq!((ranges.len(), told), (0, vec!["1: could not connect".to_owned()]));
        let (first, ranges, told) = read_all(&at(Ok(&list("Meta", "[192.0.2.0/24]"))), &none, None);
        assert_eq!((ranges, told), (vec!["Meta [192.0.2.0/24]".to_owned()], vec![]));
        for bad in ["", "<html>sign in</html>", &list("Meta", "[]"), &list("Meta", "[0.0.0.0/0]")] {
            let (again, ranges, told) = read_all(&at(Ok(bad)), &first, None);
            assert_eq!((ranges, told.len()), (vec!["Meta [192.0.2.0/24]".to_owned()], 1), "{bad}");
            assert_eq!(read_all(&at(Ok(bad)), &again, None).1, ["Meta [192.0.2.0/24]"], "{bad}");
        }
        assert_eq!(read_all(&Places::default(), &first, None).1.len(), 0, "taken away is gone");
    }
}
