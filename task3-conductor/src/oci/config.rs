//! An image's config: what to run and how, in their words and in ours.
//!
//! Theirs has an entrypoint, a command, variables as `KEY=VALUE`, a user and a folder; ours the same without entrypoint.
//! Entrypoint and command together are what runs when nothing is said, so that is our command. What ours has no word for
//! (ports, volumes, labels, a health check) stays behind.
//!
//! Look: `skopeo inspect --config oci:DIR | jq .`. Source: image-spec, config.md.

use std::collections::BTreeMap;

use nsutil::error::{Error, OrCannot, Result};
use oci_spec::OciSpecError;
use oci_spec::image::{
    Config, ConfigBuilder, History, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, RootFsBuilder,
};

use super::architecture;
use super::digest::Digest;
use crate::image::layer_steps::Settings;
use crate::output::escape::quoted;
use crate::store::record::ImageRecord;

/// A container of ours runs that when nothing is said anywhere.
const USUAL: &str = "/bin/bash";

/// What a config of theirs says to us.
///
/// # Errors
/// In words when it says what no container could be.
pub fn settings(config: &ImageConfiguration) -> Result<Settings> {
    let Some(config) = config.config() else { return Ok(Settings::default()) };
    let wrong = |what: &str, value: &str| Error::new("use", "the image", format!("its {what} is {}", quoted(value)));
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let command = [words(config.entrypoint()), words(config.cmd())].concat();
    if let Some(word) = command.iter().find(|word| word.contains('\0')) {
        return Err(wrong("command", word));
    }
    let mut environment = BTreeMap::new();
    for variable in config.env().iter().flatten() {
        match variable.split_once('=') {
            Some((key, value)) if !key.is_empty() && !variable.contains('\0') => {
                environment.insert(key.to_owned(), value.to_owned());
            }
            _ => return Err(wrong("environment", variable)),
        }
    }
    let folder = config.working_dir().clone().filter(|folder| !folder.is_empty());
    if let Some(folder) = folder.as_ref().filter(|folder| !folder.starts_with('/') || folder.contains('\0')) {
        return Err(wrong("working directory", folder));
    }
    let user = config.user().as_deref().filter(|user| !user.is_empty());
    let user = user.map(str::parse).transpose().map_err(|error: String| error).or_cannot("use", "the image's user")?;
    Ok(Settings { command, environment, working_directory: folder, user })
}

/// The instruction that made each layer, the lowest first, as far as the history says.
pub fn instructions(config: &ImageConfiguration) -> impl Iterator<Item = String> {
    let history = config.history().iter().flatten();
    let of_layers = history.filter(|line| !line.empty_layer().unwrap_or(false));
    of_layers.map(|line| line.created_by().clone().unwrap_or_default())
}

/// Seconds since 1970 at which the image was made; none when it does not say.
pub fn created(config: &ImageConfiguration) -> Option<i64> {
    let time: jiff::Timestamp = config.created().as_deref()?.parse().ok()?;
    Some(time.as_second())
}

/// The config of an image of ours, whose layers have these diff IDs and were made by these instructions, the lowest first.
///
/// # Errors
/// None that a record could cause.
pub fn of_image(image: &ImageRecord, diff_ids: &[Digest], made_by: &[String]) -> Result<ImageConfiguration> {
    let time = jiff::Timestamp::from_second(image.created).map(|time| time.to_string()).unwrap_or_default();
    build(image, &time, diff_ids, made_by).map_err(|error| error.to_string()).or_cannot("describe", &image.name)
}

fn build(
    image: &ImageRecord,
    time: &str,
    diff_ids: &[Digest],
    made_by: &[String],
) -> std::result::Result<ImageConfiguration, OciSpecError> {
    let history = made_by.iter().map(|line| HistoryBuilder::default().created(time).created_by(line.as_str()).build());
    let history = history.collect::<std::result::Result<Vec<History>, _>>()?;
    let layers =
        RootFsBuilder::default().typ("layers").diff_ids(diff_ids.iter().map(Digest::to_string).collect::<Vec<_>>());
    ImageConfigurationBuilder::default()
        .created(time)
        .architecture(architecture())
        .os("linux")
        .config(process(image)?)
        .rootfs(layers.build()?)
        .history(history)
        .build()
}

fn process(image: &ImageRecord) -> std::result::Result<Config, OciSpecError> {
    let usual = || vec![USUAL.to_owned()];
    let environment: Vec<String> = image.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let command = if image.command.is_empty() { usual() } else { image.command.clone() };
    let mut config = ConfigBuilder::default().cmd(command).env(environment);
    if let Some(folder) = &image.working_directory {
        config = config.working_dir(folder.as_str());
    }
    if let Some(user) = &image.user {
        config = config.user(user.to_string());
    }
    config.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(config: &str) -> Result<Settings> {
        let text = format!(
            r#"{{"architecture": "amd64", "os": "linux", "rootfs": {{"type": "layers", "diff_ids": []}}, "config": {config}}}"#
        );
        settings(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn entrypoint_and_command_are_one_command() {
        let both = parsed(r#"{"Entrypoint": ["/init", "--"], "Cmd": ["web"], "Env": ["A=b=c", "E="], "User": "7:8"}"#)
            .unwrap();
        assert_eq!(both.command, ["/init", "--", "web"]);
        assert_eq!((&*both.environment["A"], &*both.environment["E"]), ("b=c", ""));
        assert_eq!(both.user.unwrap().to_string(), "7:8");
        assert_eq!(parsed(r#"{"User": "", "WorkingDir": ""}"#).unwrap(), Settings::default());
    }

    #[test]
    fn what_no_container_could_be_is_refused() {
        for wrong in [
            r#"{"Env": ["A"]}"#,
            r#"{"Env": ["=b"]}"#,
            r#"{"WorkingDir": "srv"}"#,
            r#"{"User": "a b"}"#,
            r#"{"Cmd": ["a\u0000"]}"#,
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_image_of_ours_comes_back_from_its_config() {
        let image: ImageRecord = serde_json::from_value(serde_json::json!({
            "name": "eg", "from": "host", "layers": [], "created": 1_700_000_000, "command": ["a", "b"],
            "environment": {"K": "V"}, "working_directory": "/srv", "user": "nobody"
        }))
        .unwrap();
        let config = of_image(&image, &[Digest::of(b"")], &["FROM host".to_owned()]).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        let back: ImageConfiguration = serde_json::from_str(&text).unwrap();
        let Settings { command, environment, working_directory, user } = settings(&back).unwrap();
        let here = ImageRecord { command, environment, working_directory, user, ..image.clone() };
        assert_eq!((here, created(&back)), (image, Some(1_700_000_000)));
        assert_eq!(instructions(&back).collect::<Vec<_>>(), ["FROM host"]);
    }
}
