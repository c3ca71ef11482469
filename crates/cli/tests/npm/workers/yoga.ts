// graphql-yoga: queries, mutations, errors, uploads, batches and subscriptions.
import { createPubSub, createSchema, createYoga, maskError } from "graphql-yoga";
import { GraphQLError } from "graphql";

const events = createPubSub<{ posted: [post: Post] }>();

interface Post {
  id: string;
  title: string;
  author: string;
}
const posts: Post[] = [{ id: "1", title: "First", author: "ada" }];

const schema = createSchema({
  typeDefs: /* GraphQL */ `
    scalar File
    type Author { name: String! posts: [Post!]! }
    type Post { id: ID! title: String! author: Author! }
    type Query {
      hello(name: String = "world"): String!
      posts: [Post!]!
      post(id: ID!): Post
      secret: String
      broken: String
      header(name: String!): String
    }
    type Mutation {
      publish(title: String!, author: String!): Post!
      read(file: File!): String!
    }
    type Subscription { countdown(from: Int!): Int! }
  `,
  resolvers: {
    Query: {
      hello: (_: unknown, { name }: { name: string }) => `Hello, ${name}!`,
      posts: () => posts,
      post: (_: unknown, { id }: { id: string }) => posts.find((post) => post.id === id) ?? null,
      secret: () => {
        throw new GraphQLError("not for you", { extensions: { code: "FORBIDDEN" } });
      },
      broken: () => {
        throw new Error("details that must not leave");
      },
      header: (_: unknown, { name }: { name: string }, { request }: { request: Request }) => request.headers.get(name),
    },
    Mutation: {
      publish: (_: unknown, { title, author }: { title: string; author: string }) => {
        const post = { id: String(posts.length + 1), title, author };
        posts.push(post);
        events.publish("posted", post);
        return post;
      },
      read: async (_: unknown, { file }: { file: File }) => `${file.name}: ${await file.text()}`,
    },
    Post: { author: ({ author }: Post) => ({ name: author }) },
    Author: { posts: ({ name }: { name: string }) => posts.filter((post) => post.author === name) },
    Subscription: {
      countdown: {
        subscribe: async function* (_: unknown, { from }: { from: number }) {
          for (let left = from; left >= 0; left--) {
            await new Promise((done) => setTimeout(done, 1));
            yield { countdown: left };
          }
        },
      },
    },
  },
});

const yoga = createYoga({ schema, batching: true, logging: false, maskedErrors: { maskError: (error, message) => maskError(error, message, false) } });

export default { fetch: yoga.fetch };
