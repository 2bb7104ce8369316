//! The table of rules (`spec/lint.md`).

/// One thing the linter looks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: &'static str,
    /// One line: what it asks for.
    pub summary: &'static str,
    pub origin: Origin,
}

/// Whose rule it is, and when it speaks unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// BuildKit's, in builds and in the linter.
    BuildKit,
    /// BuildKit's, if `check=experimental=…` asks for it.
    Experimental,
    /// lith's, in the linter; in builds if `check=experimental=…` names it.
    Lith,
}

const fn buildkit(name: &'static str, summary: &'static str) -> Rule {
    Rule { name, summary, origin: Origin::BuildKit }
}

const fn lith(name: &'static str, summary: &'static str) -> Rule {
    Rule { name, summary, origin: Origin::Lith }
}

pub const STAGE_NAME_CASING: Rule = buildkit("StageNameCasing", "stage names are lower case");
pub const FROM_AS_CASING: Rule = buildkit("FromAsCasing", "FROM and AS are written in one case");
pub const NO_EMPTY_CONTINUATION: Rule =
    buildkit("NoEmptyContinuation", "no empty line inside a continued instruction");
pub const CONSISTENT_INSTRUCTION_CASING: Rule =
    buildkit("ConsistentInstructionCasing", "all instructions are written in one case");
pub const DUPLICATE_STAGE_NAME: Rule = buildkit("DuplicateStageName", "no two stages share a name");
pub const RESERVED_STAGE_NAME: Rule = buildkit("ReservedStageName", "no stage is called scratch or context");
pub const JSON_ARGS_RECOMMENDED: Rule =
    buildkit("JSONArgsRecommended", "CMD and ENTRYPOINT are JSON arrays, so that signals reach the process");
pub const MAINTAINER_DEPRECATED: Rule = buildkit("MaintainerDeprecated", "a label instead of MAINTAINER");
pub const UNDEFINED_ARG_IN_FROM: Rule =
    buildkit("UndefinedArgInFrom", "variables of FROM are declared before the first FROM");
pub const WORKDIR_RELATIVE_PATH: Rule =
    buildkit("WorkdirRelativePath", "the first WORKDIR of a stage is absolute");
pub const UNDEFINED_VAR: Rule = buildkit("UndefinedVar", "variables are defined before they are used");
pub const MULTIPLE_INSTRUCTIONS_DISALLOWED: Rule =
    buildkit("MultipleInstructionsDisallowed", "one CMD, ENTRYPOINT and HEALTHCHECK in a stage");
pub const LEGACY_KEY_VALUE_FORMAT: Rule =
    buildkit("LegacyKeyValueFormat", "ENV and LABEL are written name=value");
pub const INVALID_BASE_IMAGE_PLATFORM: Rule =
    buildkit("InvalidBaseImagePlatform", "a base image is of the platform that is built for");
pub const REDUNDANT_TARGET_PLATFORM: Rule =
    buildkit("RedundantTargetPlatform", "FROM does not say --platform=$TARGETPLATFORM, which is the default");
pub const SECRETS_USED_IN_ARG_OR_ENV: Rule =
    buildkit("SecretsUsedInArgOrEnv", "secrets are mounted, not passed as ARG or ENV");
pub const INVALID_DEFAULT_ARG_IN_FROM: Rule =
    buildkit("InvalidDefaultArgInFrom", "FROM names an image also when no build argument is given");
pub const FROM_PLATFORM_FLAG_CONST_DISALLOWED: Rule =
    buildkit("FromPlatformFlagConstDisallowed", "FROM --platform is no constant");
pub const COPY_IGNORED_FILE: Rule =
    buildkit("CopyIgnoredFile", "COPY and ADD take nothing that .dockerignore leaves out");
pub const INVALID_DEFINITION_DESCRIPTION: Rule = Rule {
    name: "InvalidDefinitionDescription",
    summary: "a comment above FROM or ARG begins with the name it describes",
    origin: Origin::Experimental,
};
pub const EXPOSE_PROTO_CASING: Rule = buildkit("ExposeProtoCasing", "the protocol of EXPOSE is lower case");
pub const EXPOSE_INVALID_FORMAT: Rule =
    buildkit("ExposeInvalidFormat", "EXPOSE names a port alone, no address and no port of the host");

pub const IMAGE_NOT_PINNED: Rule =
    lith("ImageNotPinned", "images of FROM and --from are named with their digest");
pub const PACKAGES_NOT_PINNED: Rule =
    lith("PackagesNotPinned", "apt, apk and pip install named versions, or from a snapshot");
pub const ADD_WITHOUT_CHECKSUM: Rule = lith("AddWithoutChecksum", "ADD of a URL has --checksum");
pub const CHANGE_AFTER_COPY: Rule =
    lith("ChangeAfterCopy", "owner and mode are set by COPY, not by chown -R or chmod -R after it");
pub const NON_REPRODUCIBLE_COMMAND: Rule = lith(
    "NonReproducibleCommand",
    "RUN does not depend on the time, on chance or on what a server sends today",
);
pub const HEREDOC_WITHOUT_SET_E: Rule =
    lith("HeredocWithoutSetE", "a script of several commands stops at the first that fails");

/// All rules, BuildKit's first.
pub const RULES: [&Rule; 28] = [
    &STAGE_NAME_CASING,
    &FROM_AS_CASING,
    &NO_EMPTY_CONTINUATION,
    &CONSISTENT_INSTRUCTION_CASING,
    &DUPLICATE_STAGE_NAME,
    &RESERVED_STAGE_NAME,
    &JSON_ARGS_RECOMMENDED,
    &MAINTAINER_DEPRECATED,
    &UNDEFINED_ARG_IN_FROM,
    &WORKDIR_RELATIVE_PATH,
    &UNDEFINED_VAR,
    &MULTIPLE_INSTRUCTIONS_DISALLOWED,
    &LEGACY_KEY_VALUE_FORMAT,
    &INVALID_BASE_IMAGE_PLATFORM,
    &REDUNDANT_TARGET_PLATFORM,
    &SECRETS_USED_IN_ARG_OR_ENV,
    &INVALID_DEFAULT_ARG_IN_FROM,
    &FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    &COPY_IGNORED_FILE,
    &INVALID_DEFINITION_DESCRIPTION,
    &EXPOSE_PROTO_CASING,
    &EXPOSE_INVALID_FORMAT,
    &IMAGE_NOT_PINNED,
    &PACKAGES_NOT_PINNED,
    &ADD_WITHOUT_CHECKSUM,
    &CHANGE_AFTER_COPY,
    &NON_REPRODUCIBLE_COMMAND,
    &HEREDOC_WITHOUT_SET_E,
];
