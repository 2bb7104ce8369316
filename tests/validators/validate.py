"""Checks statements with programs that others wrote: prints what is wrong, a line each; exit code 1 if anything is.

Arguments: pairs of a kind (spdx, cyclonedx, provenance) and a file. The first two are documents, the last an in-toto
statement with a SLSA provenance as its predicate.
"""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf.json_format import ParseDict, ParseError
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def spdx(path):
    try:
        document = parse_file(path)
    except SPDXParsingError as error:
        return error.get_messages()
    return [str(found.validation_message) for found in validate_full_spdx_document(document)]


def cyclonedx(path):
    with open(path, encoding="utf-8") as file:
        found = JsonStrictValidator(SchemaVersion.V1_5).validate_str(file.read())
    return [] if found is None else [str(found)[:500]]


def provenance(path):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    try:
        message = ParseDict(document, StatementMessage())
        Statement.copy_from_pb(message).validate()
        predicate = ParseDict(document["predicate"], Provenance())
        for dependency in predicate.build_definition.resolved_dependencies:
            ResourceDescriptor.copy_from_pb(dependency).validate()
    except (ParseError, ValueError) as error:
        return [str(error)]
    # What the specification requires and protobuf cannot say.
    required = {
        "predicateType": message.predicate_type == "https://slsa.dev/provenance/v1",
        "buildDefinition.buildType": predicate.build_definition.build_type,
        "buildDefinition.externalParameters": predicate.build_definition.external_parameters.fields,
        "runDetails.builder.id": predicate.run_details.builder.id,
    }
    return [f"{name} is missing or wrong" for name, value in required.items() if not value]


def main(arguments):
    kinds = {"spdx": spdx, "cyclonedx": cyclonedx, "provenance": provenance}
    failed = False
    for kind, path in zip(arguments[::2], arguments[1::2], strict=True):
        for problem in kinds[kind](path):
            failed = True
            print(f"{path}: {problem}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
