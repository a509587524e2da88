//! Types, capabilities, areas and tags: short texts that end up in index keys.

use purlin_abi::limits;

use super::error::DeviceError;

/// Deepest area: `hall-2/line-1` has depth 2. Each level is one more index entry.
pub const AREA_DEPTH_MAX: usize = 8;

/// Returns what is wrong with a label, if anything. Control characters are refused because they hide in
/// displays, and because a zero byte ends a value in index keys.
pub(super) fn problem(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".into());
    }
    if text.len() > limits::DEVICE_LABEL_BYTES_MAX {
        return Some(format!(
            "has {} bytes; at most {} are allowed",
            text.len(),
            limits::DEVICE_LABEL_BYTES_MAX
        ));
    }
    if text.chars().any(char::is_control) {
        return Some("contains a control character".into());
    }
    (text.trim() != text).then(|| "starts or ends with white space".into())
}

fn refuse(field: &'static str, text: &str, problem: impl Into<String>) -> DeviceError {
    DeviceError::Label { field, text: text.chars().take(80).collect(), problem: problem.into() }
}

/// Checks an area: empty, or 1 to 8 non-empty parts divided by `/`.
pub(super) fn check_area(area: &str) -> Result<(), DeviceError> {
    if area.is_empty() {
        return Ok(());
    }
    if let Some(problem) = problem(area) {
        return Err(refuse("area", area, problem));
    }
    if area.split('/').any(|part| part.trim() != part || part.is_empty()) {
        return Err(refuse("area", area, "has an empty part; expected parts like hall-2/line-1"));
    }
    let depth = area.split('/').count();
    if depth > AREA_DEPTH_MAX {
        return Err(refuse("area", area, format!("has {depth} parts; at most {AREA_DEPTH_MAX} are allowed")));
    }
    Ok(())
}

/// Returns an area and every area that it lies in: `a/b` gives `a`, `a/b`.
pub(super) fn areas_of(area: &str) -> impl Iterator<Item = &str> {
    let ends =
        area.match_indices('/').map(|(index, _)| index).chain((!area.is_empty()).then_some(area.len()));
    ends.map(|end| &area[..end])
}

/// Checks tags and returns them sorted, each once.
pub(super) fn check_tags(tags: &[String]) -> Result<Vec<String>, DeviceError> {
    if tags.len() > limits::DEVICE_LABELS_MAX {
        return Err(DeviceError::TooManyTags { count: tags.len(), max: limits::DEVICE_LABELS_MAX });
    }
    if let Some((tag, problem)) = tags.iter().find_map(|tag| problem(tag).map(|problem| (tag, problem))) {
        return Err(refuse("tag", tag, problem));
    }
    let mut sorted = tags.to_vec();
    sorted.sort();
    sorted.dedup();
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_lies_in_all_above_it() {
        assert_eq!(areas_of("a/b/c").collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
        assert_eq!(areas_of("a").collect::<Vec<_>>(), ["a"]);
        assert_eq!(areas_of("").count(), 0);
    }

    #[test]
    fn areas_and_tags_are_checked() {
        for good in ["", "hall-2", "hall-2/line-1", "Halle Süd/1/2/3/4/5/6/7"] {
            assert_eq!(check_area(good), Ok(()), "{good:?}");
        }
        for bad in
            ["/", "a//b", "/a", "a/", "a\0b", "a\nb", " a", "a / b", "1/2/3/4/5/6/7/8/9", &"x".repeat(65)]
        {
            assert!(check_area(bad).is_err(), "{bad:?} must be refused");
        }
        assert_eq!(check_tags(&["b".into(), "a".into(), "b".into()]).unwrap(), ["a", "b"]);
        for bad in ["", "a\0", "\u{7f}", " "] {
            assert!(check_tags(&[bad.into()]).is_err(), "{bad:?} must be refused");
        }
        assert!(matches!(check_tags(&vec!["a".into(); 33]), Err(DeviceError::TooManyTags { count: 33, .. })));
    }
}
