//! What the bundler gets wrong at this version, put right in the syntax tree before it looks.

use oxc::allocator::{Allocator, TakeIn};
use oxc::ast::ast::{BindingIdentifier, Declaration, IdentifierReference, Program, Statement};
use oxc::ast::{AstBuilder, NONE};
use oxc::ast_visit::VisitMut;

/// What the bundler's own names for CommonJS modules begin with.
const WRAPPER_PREFIX: &str = "require_";

pub(crate) fn avoid<'a>(program: &mut Program<'a>, source: &str, allocator: &'a Allocator) {
    split_joint_exports(program, allocator);
    rename_wrapper_lookalikes(program, source, allocator);
}

/// `export const a = 1, b = 2` becomes two statements. The bundler, told to keep names, splits declarations of several
/// variables so that each can carry its name, and forgets that they were exported.
fn split_joint_exports<'a>(program: &mut Program<'a>, allocator: &'a Allocator) {
    if !program.body.iter().any(is_joint_export) {
        return;
    }
    let builder = AstBuilder::new(allocator);
    let statements = program.body.take_in(allocator);
    for statement in statements {
        if !is_joint_export(&statement) {
            program.body.push(statement);
            continue;
        }
        let Statement::ExportNamedDeclaration(export) = statement else {
            continue;
        };
        let export = export.unbox();
        let Some(Declaration::VariableDeclaration(variables)) = export.declaration else {
            continue;
        };
        let variables = variables.unbox();
        for declarator in variables.declarations {
            let span = declarator.span;
            let alone =
                builder.alloc_variable_declaration(span, variables.kind, builder.vec1(declarator), variables.declare);
            let alone = builder.alloc_export_named_declaration(
                span,
                Some(Declaration::VariableDeclaration(alone)),
                builder.vec(),
                None,
                export.export_kind,
                NONE,
            );
            program.body.push(Statement::ExportNamedDeclaration(alone));
        }
    }
}

fn is_joint_export(statement: &Statement<'_>) -> bool {
    let Statement::ExportNamedDeclaration(export) = statement else {
        return false;
    };
    match &export.declaration {
        Some(Declaration::VariableDeclaration(variables)) => variables.declarations.len() > 1,
        _ => false,
    }
}

/// A CommonJS file that was itself bundled may hold both `require_context` and `require_context$1`. Where another file
/// is `context.js`, the bundler calls that one `require_context`, renames the first of the two out of its way, and
/// makes it the second. Nothing is renamed where no variable looks like one of the bundler's.
fn rename_wrapper_lookalikes<'a>(program: &mut Program<'a>, source: &str, allocator: &'a Allocator) {
    let is_module = || program.body.iter().any(|statement| statement.is_module_declaration());
    if source.contains(WRAPPER_PREFIX) && !is_module() {
        let builder = AstBuilder::new(allocator);
        Renamer { builder }.visit_program(program);
    }
}

struct Renamer<'a> {
    builder: AstBuilder<'a>,
}

impl<'a> VisitMut<'a> for Renamer<'a> {
    fn visit_binding_identifier(&mut self, identifier: &mut BindingIdentifier<'a>) {
        if identifier.name.starts_with(WRAPPER_PREFIX) {
            identifier.name = self.builder.ident(&format!("_{}", identifier.name));
        }
    }

    fn visit_identifier_reference(&mut self, identifier: &mut IdentifierReference<'a>) {
        if identifier.name.starts_with(WRAPPER_PREFIX) {
            identifier.name = self.builder.ident(&format!("_{}", identifier.name));
        }
    }
}
