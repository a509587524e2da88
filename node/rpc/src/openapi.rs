//! The API's description: generated from the routes, committed, and served as committed.

#[cfg(test)]
pub(crate) use generated::CommonAnswers;

/// The committed description; a test keeps it equal to the routes.
pub const OPENAPI_JSON: &str = include_str!("../openapi.json");

#[cfg(test)]
mod generated {
    use purlin_api::{PROBLEM_CONTENT_TYPE, Problem};
    use utoipa::openapi::path::Operation;
    use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
    use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
    use utoipa::{Modify, PartialSchema, ToSchema};

    /// Adds to every route what all routes share: problems as answers, and the token.
    pub(crate) struct CommonAnswers;

    impl Modify for CommonAnswers {
        fn modify(&self, openapi: &mut OpenApi) {
            let components = openapi.components.get_or_insert_default();
            components.schemas.insert(Problem::name().into_owned(), Problem::schema());
            let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
                "Made by `purlin token create NAME --scope read|submit|admin`; not needed on the unix socket",
            ));
            components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
            openapi.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
            for item in openapi.paths.paths.values_mut() {
                [&mut item.get, &mut item.post].into_iter().flatten().for_each(add_problem);
            }
        }
    }

    fn add_problem(operation: &mut Operation) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
        let problem = ResponseBuilder::new()
            .description("Why the request was refused; see `code` and `hint`")
            .content(PROBLEM_CONTENT_TYPE, content)
            .build();
        operation.responses.responses.insert("default".into(), problem.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ApiDescription;
    use purlin_api::PROBLEM_CONTENT_TYPE;
    use utoipa::OpenApi as _;

    /// Set it to write the file instead of comparing it.
    const UPDATE: &str = "PURLIN_UPDATE_OPENAPI";

    #[test]
    fn the_committed_description_is_the_generated_one() {
        let mut generated = ApiDescription::openapi().to_pretty_json().unwrap();
        generated.push('\n');
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &generated).unwrap();
            return;
        }
        assert!(
            generated == OPENAPI_JSON,
            "node/rpc/openapi.json is old; run the tests once with {UPDATE}=1"
        );
    }

    #[test]
    fn every_route_says_how_it_fails() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI_JSON).unwrap();
        assert_eq!(description["openapi"], "3.1.0");
        let paths = description["paths"].as_object().unwrap();
        assert!(paths.len() >= 20);
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                let problem = &operation["responses"]["default"]["content"][PROBLEM_CONTENT_TYPE];
                assert!(problem.is_object(), "{method} {path} has no problem answer");
            }
        }
    }
}
