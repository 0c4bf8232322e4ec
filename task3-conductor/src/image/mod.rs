//! Images: read-only layers, stacked.
//!
//! A container needs a whole file tree, and a hundred containers of one image must not need a hundred copies of it. The
//! kernel's overlay file system takes folders as layers and shows them as one: a file is read from the topmost layer
//! that has it, and what a container writes goes to a folder of its own, on top of all. So an image is only a *list* of
//! layers; two images that begin alike share them, and starting a container copies nothing.
//!
//! | module | what happens there |
//! |---|---|
//! | [`conductorfile`] | what a Conductorfile says, or where it is mistaken |
//! | [`base`] | what an image begins with: the word after FROM |
//! | [`layer_steps`] | from lines to acts, before anything is touched |
//! | [`build`] | the acts in order, each a layer from the cache or made now; last the record |
//! | [`host`] | a base of this host's own programs |
//! | [`debootstrap`] | a base from a distribution's packages |
//! | [`copy`] | COPY: from the context into the image and nowhere else |
//! | [`run`] | RUN: what a command changes |
//! | [`layer`] | layers on disk: made beside, renamed when whole, found again by what they were made from |
//! | [`interrupt`] | Ctrl-C in the middle: undone, and then obeyed |
//! | [`progress`] | how far it is, for a person or a file |
//!
//! Look: `cat .images/NAME/record.json`, `ls .cache/layers`. Manual: mount(8), "overlay"; the kernel's overlayfs document.

pub mod base;
pub mod build;
pub mod conductorfile;
pub mod copy;
pub mod debootstrap;
pub mod host;
pub mod interrupt;
pub mod layer;
pub mod layer_steps;
pub mod progress;
pub mod run;
