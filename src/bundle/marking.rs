//! Markings: how whoever holds a bundle must handle it, in plain sight in the public core (docs/format.md section 3.1).
//!
//! Only the form is checked, so that a typing error does not travel on media for years. What is CUI, and which category it has, is decided by
//! people and never here: categories are not looked up, because the registry grows; the few dissemination controls are.

use std::fmt;

use super::core::PublicCore;

/// A marking in a form that is written into bundles: a banner of the CUI registry, or DoD's banner with its designation indicator.
///
/// # Source
/// 32 CFR 2002.20, NARA's CUI registry (banner format and limited dissemination controls); DoDI 5200.48.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marking(String);

/// DoD's CUI designation indicator; its banner is `CUI` and nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Designation {
    /// The organisation and its office.
    pub controlled_by: String,
    /// All categories.
    pub category: String,
    /// A distribution statement, or a limited dissemination control.
    pub distribution: Option<String>,
    /// Whom to ask.
    pub poc: String,
}

/// Why a text is no marking.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkingError {
    /// It begins with something else.
    #[error("a marking begins with CUI or CONTROLLED, not with '{}'", found.escape_debug())]
    Banner {
        /// What stands there.
        found: String,
    },
    /// More parts than there are.
    #[error("a marking has at most three parts: CUI//CATEGORIES//DISSEMINATION CONTROLS")]
    Parts,
    /// No abbreviation of a category.
    #[error("'{}' is no category marking: expected capital letters and digits, as CTI, or SP-CTI for CUI Specified", found.escape_debug())]
    Category {
        /// What stands there.
        found: String,
    },
    /// Out of order, or twice.
    #[error("'{after}' stands behind '{before}': each category once, Specified (SP-) first, and both by the alphabet")]
    Order {
        /// The one in front.
        before: String,
        /// The one behind it.
        after: String,
    },
    /// No dissemination control.
    #[error("'{}' is no limited dissemination control: known are {}, REL TO USA, LIST and DISPLAY ONLY LIST", found.escape_debug(), CONTROLS.join(", "))]
    Control {
        /// What stands there.
        found: String,
    },
    /// A list of nations that is none.
    #[error("'{}' names no nations: expected codes of 3 or 4 capital letters between ', ', for REL TO with USA first", found.escape_debug())]
    Nations {
        /// What stands there.
        found: String,
    },
    /// A dissemination control twice.
    #[error("'{found}' stands there twice")]
    Twice {
        /// Which.
        found: String,
    },
    /// A line of the designation indicator that is missing or out of place.
    #[error("a designation indicator has the lines 'Controlled by: ', 'CUI Category: ', perhaps 'Distribution: ', 'POC: ', between '; '")]
    Indicator,
    /// A line of it that cannot stand in one.
    #[error("'{}' cannot stand behind '{line}': it must not be empty, begin or end with a blank, or hold ';' or a control character", found.escape_debug())]
    Line {
        /// Which line.
        line: &'static str,
        /// What was to stand there.
        found: String,
    },
    /// Too long for the core.
    #[error("the marking has {found} bytes, at most {MARKING_MAX} fit")]
    Long {
        /// Its bytes.
        found: usize,
    },
}

/// Most bytes of a marking.
pub(super) const MARKING_MAX: usize = 256;

impl Marking {
    /// Checks a banner (`CUI//SP-CTI//NOFORN`) or a line as [`Marking::designated`] makes it.
    ///
    /// # Errors
    /// [`MarkingError`].
    pub fn parse(text: &str) -> Result<Marking, MarkingError> {
        match text.split_once("; ") {
            Some(("CUI", lines)) => Marking::designated(&Designation::parse(lines)?),
            _ => banner(text).and_then(|()| Marking::new(text.to_owned())),
        }
    }

    /// Makes one line of DoD's banner and designation indicator.
    ///
    /// # Errors
    /// [`MarkingError::Line`], [`MarkingError::Long`].
    pub fn designated(designation: &Designation) -> Result<Marking, MarkingError> {
        let Designation { controlled_by, category, distribution, poc } = designation;
        let mut text = "CUI".to_owned();
        let lines =
            [(CONTROLLED_BY, Some(controlled_by)), (CATEGORY, Some(category)), (DISTRIBUTION, distribution.as_ref()), (POC, Some(poc))];
        for (line, value) in lines.into_iter().filter_map(|(line, value)| Some((line, value?))) {
            if value.is_empty() || value.trim() != value || value.contains(|c: char| c == ';' || c.is_control()) {
                return Err(MarkingError::Line { line, found: value.clone() });
            }
            text += &format!("; {line}{value}");
        }
        Marking::new(text)
    }

    /// The marking that a bundle has, in whatever form: handling does not end because another program wrote it.
    pub fn of(core: &PublicCore) -> Option<Marking> {
        core.marking.clone().map(Marking)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn new(text: String) -> Result<Marking, MarkingError> {
        match text.len() {
            1..=MARKING_MAX => Ok(Marking(text)),
            found => Err(MarkingError::Long { found }),
        }
    }
}

impl fmt::Display for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Designation {
    /// Reads the lines behind the banner.
    fn parse(text: &str) -> Result<Designation, MarkingError> {
        let mut lines = text.split("; ").peekable();
        let mut line = |name: &str| lines.next_if(|line| line.starts_with(name)).map(|line| line[name.len()..].to_owned());
        let designation = Designation {
            controlled_by: line(CONTROLLED_BY).ok_or(MarkingError::Indicator)?,
            category: line(CATEGORY).ok_or(MarkingError::Indicator)?,
            distribution: line(DISTRIBUTION),
            poc: line(POC).ok_or(MarkingError::Indicator)?,
        };
        match lines.next() {
            None => Ok(designation),
            Some(_) => Err(MarkingError::Indicator),
        }
    }
}

/// Checks control marking, categories and dissemination controls.
fn banner(text: &str) -> Result<(), MarkingError> {
    let parts: Vec<&str> = text.split("//").collect();
    if !matches!(parts[0], "CUI" | "CONTROLLED") {
        return Err(MarkingError::Banner { found: parts[0].to_owned() });
    }
    match parts[1..] {
        [] => Ok(()),
        // CUI Basic may go without its category.
        [only] if only.split('/').any(|text| control(text).is_ok()) => controls(only),
        [only] => categories(only),
        [first, second] => categories(first).and_then(|()| controls(second)),
        _ => Err(MarkingError::Parts),
    }
}

fn categories(text: &str) -> Result<(), MarkingError> {
    let mut before: Option<(bool, &str)> = None;
    for marking in text.split('/') {
        let name = marking.strip_prefix("SP-").unwrap_or(marking);
        let is_capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        // A control among categories would say nothing of dissemination where somebody looks for it.
        if !(2..=16).contains(&name.len()) || !name.chars().all(is_capital) || control(name).is_ok() {
            return Err(MarkingError::Category { found: marking.to_owned() });
        }
        let place = (marking == name, name);
        if let Some((is_basic, other)) = before.filter(|before| *before >= place) {
            let before = if is_basic { other.to_owned() } else { format!("SP-{other}") };
            return Err(MarkingError::Order { before, after: marking.to_owned() });
        }
        before = Some(place);
    }
    Ok(())
}

fn controls(text: &str) -> Result<(), MarkingError> {
    let all: Vec<&str> = text.split('/').collect();
    for (place, text) in all.iter().enumerate() {
        control(text)?;
        if all[..place].contains(text) {
            return Err(MarkingError::Twice { found: (*text).to_owned() });
        }
    }
    Ok(())
}

fn control(text: &str) -> Result<(), MarkingError> {
    let (list, is_release) = match text.strip_prefix("REL TO ") {
        Some(list) => (list, true),
        None => match text.strip_prefix("DISPLAY ONLY ") {
            Some(list) => (list, false),
            None if CONTROLS.contains(&text) => return Ok(()),
            None => return Err(MarkingError::Control { found: text.to_owned() }),
        },
    };
    let nations: Vec<&str> = list.split(", ").collect();
    let is_code = |code: &&str| (3..=4).contains(&code.len()) && code.chars().all(|c| c.is_ascii_uppercase());
    // Releasable to the USA alone is NOFORN.
    let is_first_own = !is_release || (nations[0] == "USA" && nations.len() > 1);
    match nations.iter().all(is_code) && is_first_own {
        true => Ok(()),
        false => Err(MarkingError::Nations { found: text.to_owned() }),
    }
}

/// The registry's limited dissemination controls that stand alone.
const CONTROLS: [&str; 12] =
    ["NOFORN", "FED ONLY", "FEDCON", "NOCON", "DL ONLY", "RELIDO", "Attorney-Client", "AC", "Attorney-WP", "AWP", "Deliberative", "DELIB"];

const CONTROLLED_BY: &str = "Controlled by: ";
const CATEGORY: &str = "CUI Category: ";
const DISTRIBUTION: &str = "Distribution: ";
const POC: &str = "POC: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_forms_of_the_registry_and_of_dod() {
        for text in [
            "CUI",
            "CONTROLLED",
            "CUI//SP-CTI",
            "CUI//PRVCY",
            "CUI//NOFORN",
            "CUI//SP-CTI/SP-PRVCY//NOFORN",
            "CONTROLLED//SP-EXPT/CTI/PRVCY//FED ONLY/DL ONLY",
            "CUI//PRIVILEGE//Attorney-Client",
            "CUI//REL TO USA, GBR, FVEY",
            "CUI//CTI//NOCON/REL TO USA, AUS",
            "CUI//DISPLAY ONLY AFG, IRQ",
            "CUI; Controlled by: OUSD(I&S)/IAP; CUI Category: BUDG; POC: John Brown, 703-555-0135",
            "CUI; Controlled by: A; CUI Category: CTI, EXPT; Distribution: Distribution Statement B; POC: cui@example.mil",
        ] {
            assert_eq!(Marking::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_in_form() {
        for (text, words) in [
            ("", "begins with CUI or CONTROLLED, not with ''"),
            ("cui", "not with 'cui'"),
            ("SECRET//NOFORN", "not with 'SECRET'"),
            ("CUI/SP-CTI", "not with 'CUI/SP-CTI'"),
            ("CUI//", "'' is no category marking"),
            ("CUI//sp-cti", "'sp-cti' is no category marking"),
            ("CUI//SP-", "'SP-' is no category marking"),
            ("CUI// CTI", "' CTI' is no category marking"),
            ("CUI//SP-CTI/", "'' is no category marking"),
            ("CUI//NOFRON ONLY", "'NOFRON ONLY' is no category marking"),
            ("CUI//CTI/SP-EXPT", "'SP-EXPT' stands behind 'CTI'"),
            ("CUI//SP-PRVCY/SP-CTI", "'SP-CTI' stands behind 'SP-PRVCY'"),
            ("CUI//CTI/CTI", "'CTI' stands behind 'CTI'"),
            ("CUI//CTI//NOFRON", "'NOFRON' is no limited dissemination control: known are NOFORN, FED ONLY,"),
            ("CUI//NOFORN//SP-CTI", "'NOFORN' is no category marking"),
            ("CUI//NOFORN/CTI", "'CTI' is no limited dissemination control"),
            ("CUI//CTI//NOFORN/NOFORN", "'NOFORN' stands there twice"),
            ("CUI//CTI//REL TO GBR", "names no nations"),
            ("CUI//CTI//REL TO USA", "names no nations"),
            ("CUI//CTI//REL TO USA,GBR", "names no nations"),
            ("CUI//CTI//DISPLAY ONLY ", "names no nations"),
            ("CUI//CTI//NOFORN//FEDCON", "at most three parts"),
            ("CUI; POC: x", "a designation indicator has the lines"),
            ("CUI; Controlled by: a; CUI Category: b; POC: c; POC: d", "a designation indicator has the lines"),
            ("CUI; Controlled by: ; CUI Category: b; POC: c", "'' cannot stand behind 'Controlled by: '"),
            ("CUI; Controlled by: a; CUI Category: b; POC: c\u{7}", "cannot stand behind 'POC: '"),
            ("CUI//SP-CTI; Controlled by: a; CUI Category: b; POC: c", "is no category marking"),
        ] {
            let error = Marking::parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_line_holds_256_bytes_and_can_be_taken_apart() {
        let of = |poc: usize| Designation {
            controlled_by: "a".into(),
            category: "b".into(),
            distribution: Some("FEDCON".into()),
            poc: "c".repeat(poc),
        };
        let fits = 256 - Marking::designated(&of(1)).unwrap().as_str().len() + 1;
        let marking = Marking::designated(&of(fits)).unwrap();
        assert_eq!((marking.as_str().len(), Marking::parse(marking.as_str())), (256, Ok(marking.clone())));
        assert_eq!(Marking::designated(&of(fits + 1)), Err(MarkingError::Long { found: 257 }));
        let smuggled = Designation { poc: "x; CUI Category: y".into(), ..of(1) };
        assert!(matches!(Marking::designated(&smuggled), Err(MarkingError::Line { line: "POC: ", .. })));
    }
}
