//! What KDL text comes to before anything is known of images: nodes with arguments, properties and children.

use crate::diag::Span;

/// One node. Places count from the beginning of the first file (see [`super::imports`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub name: Text,
    /// In the order written.
    pub args: Vec<Arg>,
    /// In the order written; a name may be there twice.
    pub props: Vec<Prop>,
    pub children: Vec<Node>,
    /// From the name to the last argument or property.
    pub head: Span,
}

/// A text of the file and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub text: String,
    pub span: Span,
}

/// A value that stands alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    pub value: Value,
    pub span: Span,
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Prop {
    pub name: Text,
    pub value: Value,
    /// Of the value.
    pub span: Span,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    /// A number that is no integer of 64 bits.
    Number,
    Null,
}

impl Value {
    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Number => "a number",
            Self::Null => "null",
        }
    }
}
