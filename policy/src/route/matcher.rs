//! Host and path to the one thing that answers, by the precedence of Gateway API.
//!
//! The most specific host wins first (exact, then the longest wildcard), then the path: exact before
//! regular expression before the longest prefix; then a match that names methods, the one with more header
//! conditions, with more query conditions; then the older object, then its name, then the order in it.
//! A host whose rules do not match falls through to the next less specific host.
//! Gateway API leaves the place of regular expressions open; here they stand before prefixes, because a
//! prefix `/` beside them would otherwise hide them all.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use hashbrown::HashMap;
use http::{HeaderMap, HeaderName, Method};
use regex::{Regex, RegexBuilder};

use super::{MatchIr, NamedMatchIr, PathMatchIr, ValueMatchIr};
use crate::names::{Hostname, ObjectRef};
use crate::request::RequestHead;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Bytes that one compiled expression may take; a tenant's pattern must not take the gateway's memory.
const MAX_REGEX_BYTES: usize = 256 * 1024;
/// Bytes of a pattern's text.
const MAX_PATTERN_BYTES: usize = 1024;

/// The methods that a match takes when it names none.
static ORDINARY: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH];

/// Why a match cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// Not a regular expression, or one too large.
    #[error("is not a usable regular expression: {0}")]
    Regex(#[from] regex::Error),
    /// The pattern's text is too long.
    #[error("is a pattern of more than {MAX_PATTERN_BYTES} bytes")]
    PatternTooLong,
    /// Not a header name.
    #[error("`{0}` is not a header name")]
    HeaderName(Arc<str>),
    /// Not a method.
    #[error("`{0}` is not a method")]
    Method(Arc<str>),
}

/// A regular expression for a whole value: linear in time, bounded in size.
///
/// # Errors
/// [`MatchError`] when it is no expression, or too large.
pub fn whole(pattern: &str) -> Result<Regex, MatchError> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(MatchError::PatternTooLong);
    }
    // The pattern is compiled alone first, so that `)(` cannot escape the anchors that follow.
    RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build()?;
    let anchored = format!("^(?:{pattern})$");
    Ok(RegexBuilder::new(&anchored).size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build()?)
}

/// Who stands where when two matches are alike; smaller wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    broken: bool,
    any_method: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    created_secs: i64,
    object: ObjectRef,
    index: usize,
}

/// Where a match comes from, for its rank.
#[derive(Clone, Debug)]
pub struct Place {
    /// The object that holds it.
    pub object: ObjectRef,
    /// When the object was created.
    pub created_secs: i64,
    /// The match's place in the object.
    pub index: usize,
    /// A broken object's footprint: at the same path it gives way to what works.
    pub broken: bool,
}

#[derive(Clone, Debug)]
enum ValueMatch {
    Exact(Arc<str>),
    Regex(Regex),
}

impl ValueMatch {
    fn new(ir: &ValueMatchIr) -> Result<Self, MatchError> {
        Ok(match ir {
            ValueMatchIr::Exact(value) => Self::Exact(value.clone()),
            ValueMatchIr::Regex(pattern) => Self::Regex(whole(pattern)?),
        })
    }

    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

#[derive(Clone, Debug)]
struct Candidate<T> {
    rank: Rank,
    methods: Vec<Method>,
    headers: Vec<(HeaderName, ValueMatch)>,
    query: Vec<(Arc<str>, ValueMatch)>,
    target: T,
}

impl<T> Candidate<T> {
    fn new(ir: &MatchIr, place: &Place, target: T) -> Result<Self, MatchError> {
        let MatchIr { path: _, methods, headers, query } = ir;
        let methods =
            methods.iter().map(|m| Method::from_bytes(m.as_bytes()).map_err(|_| MatchError::Method(m.clone())));
        let header = |NamedMatchIr { name, value }: &NamedMatchIr| {
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| MatchError::HeaderName(name.clone()))?;
            Ok::<_, MatchError>((parsed, ValueMatch::new(value)?))
        };
        let parameter =
            |NamedMatchIr { name, value }: &NamedMatchIr| Ok::<_, MatchError>((name.clone(), ValueMatch::new(value)?));
        let rank = Rank {
            broken: place.broken,
            any_method: ir.methods.is_empty(),
            headers: Reverse(headers.len()),
            query: Reverse(query.len()),
            created_secs: place.created_secs,
            object: place.object.clone(),
            index: place.index,
        };
        Ok(Self {
            rank,
            methods: methods.collect::<Result<_, _>>()?,
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
            query: query.iter().map(parameter).collect::<Result<_, _>>()?,
            target,
        })
    }

    /// The methods that it takes. One that names none takes the ordinary ones: TRACE shows an upstream's header fields
    /// to scripts, and of others nobody knows what the upstream does with them.
    fn methods(&self) -> &[Method] {
        if self.methods.is_empty() { &ORDINARY } else { &self.methods }
    }

    fn takes_rest(&self, request: &RequestHead<'_>) -> bool {
        let header = |(name, wanted): &(HeaderName, ValueMatch)| header_holds(request.headers, name, wanted);
        self.headers.iter().all(header) && query_holds(&self.query, request.query)
    }
}

/// A repeated header field is one value, joined by commas (RFC 9110, 5.3): a condition cannot be met by
/// one line of several.
fn header_holds(headers: &HeaderMap, name: &HeaderName, wanted: &ValueMatch) -> bool {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return false };
    let Ok(first) = first.to_str() else { return false };
    let mut joined = Cow::Borrowed(first);
    for value in values {
        let Ok(value) = value.to_str() else { return false };
        joined = Cow::Owned(format!("{joined},{value}"));
    }
    wanted.holds(&joined)
}

/// Of a repeated parameter the first counts, as in Gateway API.
fn query_holds(wanted: &[(Arc<str>, ValueMatch)], query: Option<&str>) -> bool {
    wanted.iter().all(|(name, value)| {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find(|(key, _)| **key == **name).is_some_and(|(_, found)| value.holds(&found))
    })
}

#[derive(Clone, Debug)]
struct PathTable<T> {
    exact: Map<Arc<str>, Vec<Candidate<T>>>,
    prefix: Map<Arc<str>, Vec<Candidate<T>>>,
    /// The deepest prefix, in segments: a long path costs no more look-ups than there are depths.
    depth: usize,
    regex: Vec<(Regex, Candidate<T>)>,
}

impl<T> Default for PathTable<T> {
    fn default() -> Self {
        Self { exact: Map::default(), prefix: Map::default(), depth: 0, regex: Vec::new() }
    }
}

fn insert<T>(table: &mut Map<Arc<str>, Vec<Candidate<T>>>, path: &Arc<str>, candidate: Candidate<T>) {
    // Most paths have one, and there are many paths.
    let list = table.entry(path.clone()).or_insert_with(|| Vec::with_capacity(1));
    let at = list.partition_point(|other| other.rank <= candidate.rank);
    list.insert(at, candidate);
}

fn segments(path: &str) -> usize {
    if path == "/" { 0 } else { path.bytes().filter(|b| *b == b'/').count() }
}

impl<T> PathTable<T> {
    fn add(&mut self, path: &PathMatchIr, candidate: Candidate<T>) -> Result<(), MatchError> {
        match path {
            PathMatchIr::Exact(path) => insert(&mut self.exact, path, candidate),
            PathMatchIr::Prefix(path) => {
                self.depth = self.depth.max(segments(path));
                insert(&mut self.prefix, path, candidate);
            }
            PathMatchIr::Regex(pattern) => {
                let regex = whole(pattern)?;
                let key = |(regex, candidate): &(Regex, Candidate<T>)| {
                    (Reverse(regex.as_str().len()), candidate.rank.clone())
                };
                let new = (regex, candidate);
                let at = self.regex.partition_point(|other| key(other) <= key(&new));
                self.regex.insert(at, new);
            }
        }
        Ok(())
    }

    fn find<'t>(&'t self, request: &RequestHead<'_>, allowed: &mut Allowed<'t>) -> Option<&'t T> {
        let exact = self.exact.get(request.path).and_then(|list| first(list.iter(), request, allowed));
        exact.or_else(|| self.find_regex(request, allowed)).or_else(|| self.find_prefix(request, allowed))
    }

    fn find_regex<'t>(&'t self, request: &RequestHead<'_>, allowed: &mut Allowed<'t>) -> Option<&'t T> {
        let matching = self.regex.iter().filter(|(regex, _)| regex.is_match(request.path)).map(|(_, c)| c);
        first(matching, request, allowed)
    }

    fn find_prefix<'t>(&'t self, request: &RequestHead<'_>, allowed: &mut Allowed<'t>) -> Option<&'t T> {
        let mut rest = at_depth(request.path.strip_suffix('/').unwrap_or(request.path), self.depth);
        loop {
            let key = if rest.is_empty() { "/" } else { rest };
            if let Some(found) = self.prefix.get(key).and_then(|list| first(list.iter(), request, allowed)) {
                return Some(found);
            }
            rest = rest.rsplit_once('/')?.0;
        }
    }
}

/// The first `depth` segments of a path.
fn at_depth(path: &str, depth: usize) -> &str {
    match path.match_indices('/').nth(depth) {
        Some((end, _)) => path.get(..end).unwrap_or(path),
        None => path,
    }
}

/// The methods of rules that would have taken the request under another method.
type Allowed<'t> = Vec<&'t Method>;

fn first<'t, T: 't>(
    candidates: impl Iterator<Item = &'t Candidate<T>>,
    request: &RequestHead<'_>,
    allowed: &mut Allowed<'t>,
) -> Option<&'t T> {
    for candidate in candidates {
        if !candidate.takes_rest(request) {
            continue;
        }
        if candidate.methods().contains(request.method) {
            return Some(&candidate.target);
        }
        allowed.extend(candidate.methods());
    }
    None
}

/// What a request meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'t, T> {
    /// This.
    Matched(&'t T),
    /// A rule for another method; the methods that would do, sorted.
    MethodNotAllowed(Vec<&'t Method>),
    /// Nothing.
    NotFound,
}

/// All matches of one tenant, by host and path.
#[derive(Clone, Debug)]
pub struct Matcher<T> {
    exact: Map<Arc<str>, PathTable<T>>,
    wildcard: Map<Arc<str>, PathTable<T>>,
}

impl<T> Default for Matcher<T> {
    fn default() -> Self {
        Self { exact: Map::default(), wildcard: Map::default() }
    }
}

impl<T: Clone> Matcher<T> {
    /// Adds one match of one object under each of its hosts.
    ///
    /// # Errors
    /// [`MatchError`] when a pattern or name in it is not usable; compile has refused such a match before.
    pub fn add(&mut self, hostnames: &[Hostname], ir: &MatchIr, place: &Place, target: &T) -> Result<(), MatchError> {
        for hostname in hostnames {
            let table = match hostname {
                Hostname::Exact(host) => self.exact.entry(host.clone()).or_default(),
                Hostname::Wildcard(suffix) => self.wildcard.entry(suffix.clone()).or_default(),
            };
            table.add(&ir.path, Candidate::new(ir, place, target.clone())?)?;
        }
        Ok(())
    }
}

impl<T> Matcher<T> {
    /// Finds what answers a request.
    #[must_use]
    pub fn find(&self, request: &RequestHead<'_>) -> Outcome<'_, T> {
        let mut allowed = Allowed::new();
        if let Some(found) = self.exact.get(request.host).and_then(|table| table.find(request, &mut allowed)) {
            return Outcome::Matched(found);
        }
        let mut host = request.host;
        while let Some((_, suffix)) = host.split_once('.').filter(|_| !self.wildcard.is_empty()) {
            if let Some(found) = self.wildcard.get(suffix).and_then(|table| table.find(request, &mut allowed)) {
                return Outcome::Matched(found);
            }
            host = suffix;
        }
        if allowed.is_empty() {
            return Outcome::NotFound;
        }
        allowed.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        Outcome::MethodNotAllowed(allowed)
    }
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
