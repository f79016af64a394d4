//! Which messages are wanted.

use core::fmt;

use log::LevelFilter;

/// The greatest number of targets that a filter can name.
const MAX_TARGETS: usize = 16;

/// A level for everything and levels for single targets.
///
/// Written as `info,manager=debug,loader::elf=off`: a level alone holds for all targets that are not named; a target
/// stands for itself and the modules in it, the longest that fits decides. A filter that names only targets turns
/// the others off; an empty one means `info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    others: LevelFilter,
    targets: [Option<(&'a str, LevelFilter)>; MAX_TARGETS],
}

/// What is wrong with the text of a [`Filter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError<'a> {
    /// No level is called like this.
    UnknownLevel(&'a str),
    /// An empty part, or a target without a name.
    Empty,
    /// More targets than a filter can hold.
    TooManyTargets,
}

impl fmt::Display for FilterError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownLevel(text) => {
                write!(
                    f,
                    "log filter: `{text}` is no level; use off, error, warn, info, debug or trace"
                )
            }
            Self::Empty => f.write_str("log filter: a part is empty; write it like `info,manager=debug`"),
            Self::TooManyTargets => write!(f, "log filter: more than {MAX_TARGETS} targets"),
        }
    }
}

impl core::error::Error for FilterError<'_> {}

impl<'a> Filter<'a> {
    /// Lets messages of `level` and more severe ones pass, whatever their target.
    pub const fn level(level: LevelFilter) -> Self {
        Self {
            others: level,
            targets: [None; MAX_TARGETS],
        }
    }

    /// Reads a filter; see the type for the grammar.
    ///
    /// # Errors
    /// [`FilterError`] names the part that is wrong.
    pub fn parse(text: &'a str) -> Result<Self, FilterError<'a>> {
        if text.trim().is_empty() {
            return Ok(Self::level(LevelFilter::Info));
        }
        let mut filter = Self::level(LevelFilter::Off);
        let mut named = 0;
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None if part.is_empty() => return Err(FilterError::Empty),
                None => filter.others = parse_level(part)?,
                Some((target, level)) if !target.trim().is_empty() => {
                    let place = filter.targets.get_mut(named).ok_or(FilterError::TooManyTargets)?;
                    *place = Some((target.trim(), parse_level(level.trim())?));
                    named += 1;
                }
                Some(_) => return Err(FilterError::Empty),
            }
        }
        Ok(filter)
    }

    /// The least severe level that is let through for any target.
    pub fn most_verbose(&self) -> LevelFilter {
        self.named().map(|(_, level)| level).fold(self.others, Ord::max)
    }

    /// The least severe level that is let through for `target`.
    pub fn level_of(&self, target: &str) -> LevelFilter {
        let fitting = self.named().filter(|(name, _)| contains(name, target));
        fitting
            .max_by_key(|(name, _)| name.len())
            .map_or(self.others, |(_, level)| level)
    }

    fn named(&self) -> impl Iterator<Item = (&'a str, LevelFilter)> {
        self.targets.iter().map_while(|target| *target)
    }
}

/// Whether `target` is the module `name` or lies in it.
fn contains(name: &str, target: &str) -> bool {
    target
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn parse_level(text: &str) -> Result<LevelFilter, FilterError<'_>> {
    text.parse().map_err(|_| FilterError::UnknownLevel(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_fitting_target_decides() {
        let filter = Filter::parse("warn, manager=debug ,manager::action=off").unwrap();
        let cases = [
            ("loader", LevelFilter::Warn),
            ("manager", LevelFilter::Debug),
            ("manager::pool", LevelFilter::Debug),
            ("manager::action", LevelFilter::Off),
            ("manager::action::create", LevelFilter::Off),
            ("manager::actions", LevelFilter::Debug),
            ("managers", LevelFilter::Warn),
        ];
        for (target, level) in cases {
            assert_eq!(filter.level_of(target), level, "{target}");
        }
        assert_eq!(filter.most_verbose(), LevelFilter::Debug);
    }

    #[test]
    fn targets_alone_turn_the_others_off_and_nothing_means_info() {
        assert_eq!(Filter::parse("a=trace").unwrap().level_of("b"), LevelFilter::Off);
        assert_eq!(Filter::parse(" ").unwrap().level_of("b"), LevelFilter::Info);
        assert_eq!(Filter::parse("ERROR").unwrap().level_of("b"), LevelFilter::Error);
    }

    #[test]
    fn errors_name_the_part() {
        assert_eq!(
            Filter::parse("info,x=loud"),
            Err(FilterError::UnknownLevel("loud"))
        );
        assert_eq!(Filter::parse("info,,warn"), Err(FilterError::Empty));
        assert_eq!(Filter::parse("=info"), Err(FilterError::Empty));
        let many = vec!["a=info"; MAX_TARGETS + 1].join(",");
        assert_eq!(Filter::parse(&many), Err(FilterError::TooManyTargets));
        assert!(FilterError::UnknownLevel("loud").to_string().contains("`loud`"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z=,: \u{e9}]{0,60}", target in "[a-z:]{0,12}") {
            if let Ok(filter) = Filter::parse(&text) {
                prop_assert!(filter.level_of(&target) <= filter.most_verbose());
            }
        }
    }
}
