//! Whiteouts: how a layer says that a file of a layer below is gone.
//!
//! A layer can only add. To delete `etc/motd`, an archive has an empty file `etc/.wh.motd`; to hide all that a folder
//! had below, it has `etc/.wh..wh..opq` (*opaque*). Overlay's upper folder says the same otherwise: a character device
//! 0:0 at `etc/motd`, and the attribute `trusted.overlay.opaque` = `y` of the folder. [`super::pack`] and
//! [`super::unpack`] translate.
//!
//! Look: `rm` something in a container, then `ls -l UPPER` and `getfattr -d -m- UPPER/etc`. Sources: image-spec,
//! layer.md, "Whiteouts"; the kernel's document "Overlay Filesystem".

/// What a name in an archive means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// A file of that name.
    File,
    /// What is below of this name is gone.
    Whiteout(&'a [u8]),
    /// All that is below in its folder is gone.
    Opaque,
    /// Something of the file system AUFS, which Docker once used: nothing to anybody else.
    Ignored,
    /// It would be a whiteout of no name, or of a folder by `.` or `..`.
    Wrong,
}

/// What marks a whiteout.
pub const PREFIX: &[u8] = b".wh.";
/// What marks an opaque folder.
pub const OPAQUE: &[u8] = b".wh..wh..opq";
/// Overlay's attribute of an opaque folder, and its value.
pub const OPAQUE_ATTRIBUTE: (&str, &[u8]) = ("trusted.overlay.opaque", b"y");

/// What the last part of a path in an archive means.
pub fn meaning(name: &[u8]) -> Meaning<'_> {
    match name.strip_prefix(PREFIX) {
        None => Meaning::File,
        Some(_) if name == OPAQUE => Meaning::Opaque,
        Some(rest) if rest.starts_with(PREFIX) => Meaning::Ignored,
        Some(b"" | b"." | b"..") => Meaning::Wrong,
        Some(rest) => Meaning::Whiteout(rest),
    }
}

/// What becomes of an extended attribute on its way out of a layer or into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// It belongs to the file.
    Kept,
    /// It is this host's affair: labels of SELinux, measurements.
    Dropped,
    /// It speaks to overlay, which would show other files than the layer has.
    Overlays,
}

/// Which it is.
pub fn attribute(name: &[u8]) -> Attribute {
    match name {
        _ if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") => Attribute::Overlays,
        b"security.capability" => Attribute::Kept,
        _ if name.starts_with(b"security.") => Attribute::Dropped,
        _ => Attribute::Kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_what_the_specification_says() {
        assert_eq!(meaning(b"motd"), Meaning::File);
        assert_eq!(meaning(b".whale"), Meaning::File);
        assert_eq!(meaning(b".wh.motd"), Meaning::Whiteout(b"motd"));
        assert_eq!(meaning(b".wh..profile"), Meaning::Whiteout(b".profile"));
        assert_eq!(meaning(b".wh..wh..opq"), Meaning::Opaque);
        assert_eq!(meaning(b".wh..wh.plnk"), Meaning::Ignored);
        for wrong in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(meaning(wrong), Meaning::Wrong, "{wrong:?}");
        }
    }

    #[test]
    fn what_speaks_to_overlay_is_never_a_files_own() {
        assert_eq!(attribute(b"security.capability"), Attribute::Kept);
        assert_eq!(attribute(b"user.note"), Attribute::Kept);
        assert_eq!(attribute(b"security.selinux"), Attribute::Dropped);
        assert_eq!(attribute(b"trusted.overlay.redirect"), Attribute::Overlays);
    }
}
